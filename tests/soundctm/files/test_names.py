"""Names from files: inside their folder, or one sentence."""

import pytest

from soundctm.errors import UserError
from soundctm.files.names import inside


@pytest.mark.parametrize("name", ["a.wav", "birds/a.wav", " a.wav", "a..b.wav", "sub\\a.wav", "é.wav", "./a.wav"])
def test_kept_as_written(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name", ["../a", "a/../../b", "..\\a", "/etc/passwd", "\\a", "C:\\a", "c:/a", "", " ", "a\0b", "x" * 300, ".."]
)
def test_refused(tmp_path, name):
    with pytest.raises(UserError, match="table.csv: the name"):
        inside(tmp_path, name, "table.csv")


def test_links_that_lead_out_are_refused(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "out").symlink_to(tmp_path)
    (tmp_path / "home" / "loop").symlink_to("loop")
    for name in ("out/secret", "loop/x"):
        with pytest.raises(UserError):
            inside(tmp_path / "home", name)
