"""A file is written whole or not at all, whatever its name."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from soundctm.errors import UserError
from soundctm.files import sweep, whole_file, whole_folder, write_whole, writing


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


def test_no_device_pipe_or_folder_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    for path, fault in (
        (tmp_path / "pipe", "no plain file"),
        (tmp_path / "link", "no plain file"),
        (tmp_path, "folder"),
    ):
        with pytest.raises(UserError, match=f"it is (a )?{fault}"):
            write_whole(path, "text")
    for name in ("", ".", "/", ".."):
        with pytest.raises(UserError, match="is no name to write to"):
            write_whole(name, "text")
        with pytest.raises(UserError, match="is no name to write to"), whole_folder(name, replace=True):
            pass
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink() and len(os.listdir(tmp_path)) == 2


def test_a_folder_is_replaced_whole_or_stays_as_it_was(tmp_path):
    folder = tmp_path / "made"
    for content in ("old", "new"):
        with whole_folder(folder, replace=True) as temporary:
            (temporary / "part").mkdir()
            (temporary / "part" / content).write_text(content)
    assert [path.name for path in folder.rglob("*")] == ["part", "new"]
    with pytest.raises(UserError, match="made cannot be written: No room"):
        with whole_folder(folder, replace=True) as temporary:
            (temporary / "half").write_text("")
            raise OSError(28, "No room")
    assert [path.name for path in folder.rglob("*")] == ["part", "new"] and os.listdir(tmp_path) == ["made"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    with whole_folder(tmp_path / "model", replace=True, mark="config.json") as temporary:
        (temporary / "config.json").write_text("{}")
    with whole_folder(tmp_path / "model", replace=True, mark="config.json") as temporary:
        (temporary / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="model holds something else .*no config.json"):
        with whole_folder(tmp_path / "model", replace=True, mark="config.json") as temporary:
            pytest.fail("it was begun")
    assert os.listdir(tmp_path / "model") == ["notes.txt"]


KILLED = """
import os, signal, sys
from soundctm.files import whole_file, whole_folder
with whole_file(sys.argv[1] + "/a.txt") as a, whole_folder(sys.argv[1] + "/b") as b:
    a.write_text("half")
    (b / "c").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_writers_left_is_swept_and_what_is_being_written_is_not(tmp_path):
    process = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=Path(__file__).parents[3])
    assert process.returncode == -signal.SIGKILL and len(os.listdir(tmp_path)) == 2
    (tmp_path / ".other.tmp").write_text("not ours")
    with whole_file(tmp_path / "mine") as temporary:
        temporary.write_text("")
        elsewhere = temporary.name.replace(writing._host(), "0" * 8)
        (tmp_path / elsewhere).write_text("")  # of another machine, and young
        assert sweep(tmp_path) == 2 and temporary.exists()
    assert sorted(os.listdir(tmp_path)) == sorted([".other.tmp", elsewhere, "mine"])
    os.utime(tmp_path / elsewhere, (0, 0))
    assert sweep(tmp_path) == 1


def test_it_is_flushed_before_it_has_its_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(writing.os, "fsync", lambda d: (done.append("flush"), fsync(d)))
    monkeypatch.setattr(writing.os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    write_whole(tmp_path / "a", "text")
    assert done == ["flush", "rename"]


def test_a_number_that_another_process_has_now_keeps_nothing(tmp_path):
    left = tmp_path / f".{'0' * 16}.{writing._host()}-{os.getppid()}-0.tmp"
    left.write_text("")
    assert sweep(tmp_path) == 0  # its process may still write
    os.utime(left, (1, 1))
    assert sweep(tmp_path) == 1


def test_a_fault_of_the_program_is_not_taken_for_a_failed_write(tmp_path):
    for writer in (whole_file, whole_folder):
        with pytest.raises(RuntimeError, match="shapes differ"), writer(tmp_path / "a"):
            raise RuntimeError("shapes differ")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_on_a_full_disk(small_disk, zipped):
    with pytest.raises(UserError, match=r"a cannot be written: a write failed half-way \(.* of 300 KiB are free there"):
        with whole_file(small_disk / "a") as temporary:
            torch.save({"a": torch.zeros(100_000)}, temporary, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="No space left on device, 391 KiB are needed .* of 300 KiB are free there"):
        with whole_folder(small_disk / "b", needed=400_000):
            pytest.fail("nothing is begun")
    assert not os.listdir(small_disk)
