"""Names from files: inside their folder, or one sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundctm.errors import UserError
from soundctm.files.names import inside


@pytest.mark.parametrize("name", ["a.wav", "birds/a.wav", " a.wav", "a..b.wav", "sub\\a.wav", "é.wav", "./a.wav"])
def test_kept_as_written(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    ["../a", "a/../../b", "..\\a", "/etc/passwd", "\\a", "C:\\a", "c:/a", "", " ", "a\0b", "x" * 300, ".."]
    + ["c:a", "a/.. /b", ".", "./", "a\nb", "\ud800", None, 5, ["a"]],
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
    assert inside(tmp_path / "home", "out/shared", links=True)  # a folder that is only read may be made of links


@given(st.text(alphabet="./\\aC:\0~ ", max_size=12))
def test_any_name_is_inside_or_refused(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    try:
        path = inside(folder, name)
    except UserError:
        return
    assert folder.resolve() in path.resolve().parents
