"""What a reader may do with a damaged file: give what it read, or refuse in one sentence; and nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from soundctm.audioldm.errors import CodecError
from soundctm.errors import UserError

SECONDS, BYTES = 20, 2 * 2**30
PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect")
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")

cases = pytest.mark.parametrize("cases", [100, pytest.param(3000, marks=pytest.mark.nightly)])

_watched: list[tuple[Path, list[str]]] = []  # the folder of the case and what was done outside


def fuzz(
    cases: int,
    seed: str,
    folder: Path,
    write: Callable[[random.Random], object],
    read: Callable[[], object],
    refusals: bool = True,
) -> None:
    """Reads `cases` damaged files.

    `write(rng)` leaves one in `folder`; `read()` must return, or raise UserError or CodecError of one line, within
    SECONDS and BYTES, and neither run a program nor write outside `folder`. The good file is read
    before. Some files must be refused, unless `refusals` is false: a cache is only made again.
    """
    read()
    refused = 0
    for number in range(cases):
        write(random.Random(f"{seed} {number}"))
        with limits(f"{seed}, case {number}"), watched(folder) as done:
            try:
                read()
            except (UserError, CodecError) as error:
                refused += 1
                text = str(error)
                assert text.strip() and "\n" not in text, f"{seed}, case {number}: {text!r}"
                assert len(text) < 3000, f"{seed}, case {number}: {len(text)} characters: {text[:300]}"
            except Exception as error:
                raise AssertionError(f"{seed}, case {number}: {type(error).__name__}: {error}"[:500]) from error
        assert not done, f"{seed}, case {number}: {done}"
    assert refused or not refusals, f"{seed}: no damaged file was refused"


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """What is run, connected to, or written outside `folder` meanwhile, in words."""
    kept, tempfile.tempdir = tempfile.tempdir, str(folder)
    _watched.append((folder.resolve(), []))
    try:
        yield _watched[-1][1]
    finally:
        _watched.pop()
        tempfile.tempdir = kept


def _audit(event: str, arguments: tuple) -> None:
    if not _watched:
        return
    folder, done = _watched[-1]
    if event in PROGRAMS:
        done.append(f"{event} {arguments}")
        return
    path = arguments[0] if arguments else None
    if event == "open":
        writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        if not writes:
            return
    elif event not in CHANGES:
        return
    if isinstance(path, str | bytes | os.PathLike):
        name = os.fsdecode(path)
        if name != os.devnull and not name.endswith(".pyc") and "__pycache__" not in name:
            if not Path(os.path.abspath(name)).resolve().is_relative_to(folder):
                done.append(f"{event} {name}")


sys.addaudithook(_audit)


@contextlib.contextmanager
def limits(place: str) -> Iterator[None]:
    """At most SECONDS and BYTES of further memory."""

    def stop(*_: object) -> None:
        pytest.fail(f"{place}: more than {SECONDS} s")

    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
