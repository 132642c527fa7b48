"""Lines of files that grow: whole, or not there."""

import errno
import os

import pytest

from soundctm.errors import UserError
from soundctm.files.lines import append_line


@pytest.mark.parametrize("rest", ["tw", "x" * 200_000])
def test_an_unfinished_line_is_removed_before_the_next(tmp_path, rest):
    path = tmp_path / "new" / "log"
    append_line(path, "one")
    with open(path, "a") as file:
        file.write(rest)
    append_line(path, "three")
    assert path.read_text() == "one\nthree\n"


def test_a_line_cut_by_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "log"
    append_line(path, "one")
    write, calls = os.write, []

    def full(descriptor, data):
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(UserError, match="No space left"):
        append_line(path, "two")
    assert path.read_text() == "one\n" and calls == [4, 2]
