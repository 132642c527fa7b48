"""One run per folder: an advisory lock that ends with its holder, however that ends.

The lock is the system's (`flock`) on the file `.lock` of the folder; the file says who holds it. A holder that was
killed blocks nobody, since the system takes the lock back. (It takes it back when the last process that has the file
open is gone: a child lets go of it in its first moment, so a dead holder's lock is waited for, a living one's is not.)
The several processes of one run are one holder: one of them takes the lock, the others wait for it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from soundctm.errors import UserError

try:
    import fcntl
except ImportError:  # a system without it
    fcntl = None

logger = logging.getLogger(__name__)

LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # what file systems without locks answer
_held: set[int] = set()  # descriptors
_CHILDREN = 5.0  # seconds in which the children of a dead holder let go


@contextlib.contextmanager
def held(folder: str | os.PathLike, what: str, holds: bool = True) -> Iterator[None]:
    """Hold `folder`, which is made, within the block; `what` names the holder for others ("training").

    With `holds` false nothing happens: for all but one process of a run. Raises UserError when another run holds the
    folder, in this process or any other, and when it cannot be written. Where the file system knows no locks, a warning
    is all.
    """
    if not holds:
        yield
        return
    path = Path(folder) / LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _take(path, what)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        if descriptor in _held:  # not in a forked child
            with contextlib.suppress(OSError):
                if _same_file(descriptor, path):  # a folder may have been moved away and made anew
                    path.unlink()  # while it is held, so that nobody takes a file that is about to go
            _held.discard(descriptor)
            os.close(descriptor)


def holder(folder: str | os.PathLike) -> str:
    """For a message: "a training (process 12 on host, since 2026-01-01 12:00:00)", as far as it is known."""
    found = _signed(folder)
    if found is None:
        return "another run"
    return f"a {found['what']} (process {found['pid']} on {found['host']}, since {found['since']})"[:300]


def _signed(folder: str | os.PathLike) -> dict | None:
    """What the holder of `folder` has written of itself."""
    try:
        with open(Path(folder) / LOCK, "rb") as file:
            found = json.loads(file.read(4096))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and {"what", "pid", "host", "since"} <= set(found) else None


def _is_dead(folder: Path) -> bool:
    """Whether the holder that is named is a process of this machine that is no more."""
    found = _signed(folder)
    if found is None or found["host"] != socket.gethostname() or not isinstance(found["pid"], int):
        return False
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def _take(path: Path, what: str) -> int | None:
    """The descriptor that holds the lock; None where there are no locks."""
    while True:
        with contextlib.ExitStack() as failed:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            failed.callback(os.close, descriptor)
            if not _lock(descriptor, path):
                return None
            if _same_file(descriptor, path):  # the holder before us may have removed it meanwhile
                _sign(descriptor, what)
                _held.add(descriptor)
                failed.pop_all()
                return descriptor


def _lock(descriptor: int, path: Path) -> bool:
    """Whether the lock was taken; False where there are none. Raises UserError when somebody else has it."""
    began = time.monotonic()
    try:
        if fcntl is None:
            raise OSError(errno.ENOSYS, "no flock")
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not _is_dead(path.parent) or time.monotonic() - began > _CHILDREN:
                    raise
                time.sleep(0.02)
    except BlockingIOError:
        raise UserError(
            f"{path.parent} is in use by {holder(path.parent)}; wait for its end, or give another --output_dir"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("%s cannot be locked (%s): start no second run in it", path.parent, error.strerror)
        return False
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sign(descriptor: int, what: str) -> None:
    """Say who holds it; on a full disk the lock holds all the same."""
    text = {"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(text).encode())


def _forget_in_child() -> None:
    """A forked worker must not hold the lock on when its parent is killed; the parent's stays as it is."""
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
