"""A folder has one run at a time, told by process and host; the dead hold nothing."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soundctm.errors import UserError
from soundctm.files import locks
from soundctm.files.locks import held

ROOT = Path(__file__).parents[3]
# holds the folder, forks a child that lives on, and waits; the child says that it is there, and so has let go
HOLD = """
import os, sys, time
from soundctm.files.locks import held
with held(sys.argv[1], "training"):
    if os.fork() == 0:
        print(os.getpid(), flush=True)
    time.sleep(600)
"""
# the same with a child that gets its first moment late
HOLD_LATE = """
import os, sys, time
os.register_at_fork(after_in_child=lambda: (print(os.getpid(), flush=True), time.sleep(1)))
from soundctm.files.locks import held
with held(sys.argv[1], "training"):
    os.fork()
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path, request):
    """(process that holds tmp_path, its forked child)"""
    code = getattr(request, "param", HOLD)
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, cwd=ROOT)
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)


def test_another_process_is_named_and_once_dead_blocks_nobody(other, tmp_path):
    process, child = other
    who = rf"is in use by a training \(process {process.pid} on {socket.gethostname()}, since 20.*another --output_dir"
    with pytest.raises(UserError, match=who), held(tmp_path, "training"):
        pass
    with held(tmp_path, "training", holds=False):  # a further process of the same run
        pass
    process.kill()
    process.wait()
    os.kill(child, 0)  # its worker lives on and does not hold the lock
    with held(tmp_path, "generation"):
        assert f"a generation (process {os.getpid()} on" in locks.holder(tmp_path)
    assert not list(tmp_path.iterdir()), "nothing stays behind"


@pytest.mark.parametrize("other", [HOLD_LATE], indirect=True)
def test_a_dead_holder_whose_child_has_not_let_go_yet_is_waited_for(other, tmp_path):
    process, child = other
    process.kill()
    process.wait()
    began = time.monotonic()
    with held(tmp_path, "generation"):
        assert time.monotonic() - began > 0.3, "the child still held it"
    os.kill(child, 0)


def test_a_second_run_in_the_same_process_is_refused_until_the_first_ends(tmp_path):
    folder = tmp_path / "new" / "folder"
    with held(folder, "training"):
        with pytest.raises(UserError, match="in use"), held(folder, "training"):
            pass
        assert [path.name for path in folder.iterdir()] == [locks.LOCK]
    with held(folder, "training"):
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="file/below cannot be written: Not a directory"),
        held(tmp_path / "file" / "below", "training"),
    ):
        pass


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with held(tmp_path, "training"):
        assert "cannot be locked" in caplog.text


def test_a_file_that_its_holder_removes_meanwhile_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    flock, first = locks.fcntl.flock, []

    def slow(descriptor, operation):
        flock(descriptor, operation)
        if not first:
            first.append(time.monotonic())
            (tmp_path / locks.LOCK).unlink()

    monkeypatch.setattr(locks.fcntl, "flock", slow)
    with held(tmp_path, "training"), pytest.raises(UserError, match="in use"), held(tmp_path, "training"):
        pass
