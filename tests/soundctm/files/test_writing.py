"""A file is written whole or not at all, whatever its name."""

import pytest

from soundctm.errors import UserError
from soundctm.files import write_whole


@pytest.mark.parametrize("name", ["a.html", "x" * 250, "x" * 250 + ".png", "雷" * 80])
def test_any_name_that_the_file_system_takes(tmp_path, name):
    for content in ("old", "new ☂", b"\x00\xff"):
        write_whole(tmp_path / "new folder" / name, content)
        expected = content.encode() if isinstance(content, str) else content
        assert [(path.name, path.read_bytes()) for path in (tmp_path / "new folder").iterdir()] == [(name, expected)]


def test_what_cannot_be_written_is_one_clear_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below.txt", tmp_path / "folder"):
        with pytest.raises(UserError, match=f"{path.name} cannot be written"):
            write_whole(path, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
