"""Writing a whole file or none of it, and removing what writers that were killed left behind.

A file is written under a temporary name of this process in the same folder, flushed to disk and renamed. So whoever
reads it finds all of it, whenever the power goes. Temporary names tell host and process, so that a later run knows
which of them nobody writes any more (`sweep`).

A folder that takes the place of another is exchanged with it in one step. Where the system cannot do that, the other is
renamed first; `sweep` puts it back when the process died between the two steps.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import itertools
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from soundctm.errors import Unwritable, UserError
from soundctm.files import space

STALE = 86_400  # seconds after which what another machine has begun is taken for left behind

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\d+\.tmp")
_REPLACED = re.compile(r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\d+\.old")
_TORCH = re.compile(r"inline_container|PytorchStreamWriter|write\(\): fd|Parent directory")  # failed writes
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_numbers = itertools.count()
_open: set[str] = set()  # temporary names in use by this process


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Within the block, a temporary path to write the file at; it becomes `path`, whose folder is made, at the end.

    The block shall only write. Raises UserError when that fails; nothing half-written stays, and what was there does.
    A folder, a device, a pipe is never replaced.
    A RuntimeError that tells of no failed write is passed on.
    """
    path = _place(path)
    if (fault := _fault(path)) is not None:
        raise Unwritable(f"{path} cannot be written: {fault}")
    temporary = path.with_name(_temporary_name(path.name))
    _open.add(temporary.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and not _TORCH.search(str(error)):
            raise
        raise _unwritten(path, error) from error
    finally:
        _open.discard(temporary.name)
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def whole_folder(
    path: str | os.PathLike, replace: bool = False, needed: int = 0, mark: str | None = None
) -> Iterator[Path]:
    """The same for a folder: within the block an empty folder to fill; it takes the place of `path` at the end.

    Raises UserError where something is there already, unless it may be replaced (`replace`; with a `mark`, only a
    folder that has a file of that name, see `check_replaceable`), and before anything is written where the disk has
    less than `needed` bytes.
    """
    path = _place(path)
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; it must be a folder")
    if not replace and path.exists() and any(path.iterdir()):
        raise UserError(f"{path} is not empty")
    if mark is not None:
        check_replaceable(path, mark)
    temporary = path.with_name(_temporary_name(path.name))
    old = path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{next(_numbers)}.old")
    _open.update((temporary.name, old.name))
    try:
        temporary.mkdir(parents=True)
        space.check_room(path.parent, needed)
        yield temporary
        for part in sorted(temporary.rglob("*")):
            _flush(part)
        _flush(temporary)
        if not (path.exists() and _exchange(temporary, path)):
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
        with contextlib.suppress(OSError):  # some file systems do not flush folders
            _flush(path.parent)
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and not _TORCH.search(str(error)):
            raise
        raise _unwritten(path, error) from error
    finally:
        _open.difference_update((temporary.name, old.name))
        if old.exists() and not path.exists():
            os.replace(old, path)
        for rest in (temporary, old):
            shutil.rmtree(rest, ignore_errors=True)


def check_replaceable(path: str | os.PathLike, mark: str) -> None:
    """Raises UserError where a folder is in the way that is of something else: not empty, without a file `mark`."""
    path = Path(path)
    try:
        foreign = path.is_dir() and not (path / mark).is_file() and any(path.iterdir())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from error
    if foreign:
        raise UserError(f"{path} holds something else (there is no {mark} in it), and is not replaced; move it away")


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write `content` whole to `path`, whose folder is made. Raises UserError as `whole_file`.

    Text becomes UTF-8, but for names of files, whose bytes stay what they are.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


def ensure_writable(folder: str | os.PathLike) -> None:
    """Make `folder` if it is not there and write a file into it. Raises UserError when that fails."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise Unwritable(f"the output folder {folder} cannot be written: {error.strerror}") from error


def sweep(folder: str | os.PathLike) -> int:
    """Remove the temporary files and folders of dead processes in `folder`; their number.

    What such a process was about to replace, and did not, gets its name back. Those of other machines go when they are
    a day old. What cannot be removed stays.
    """
    removed = 0
    with contextlib.suppress(OSError):
        for path in sorted(Path(folder).glob(".*.tmp")) + sorted(Path(folder).glob(".*.old")):
            match = _TEMPORARY.fullmatch(path.name) or _REPLACED.fullmatch(path.name)
            if match is None or path.name in _open or not _abandoned(path, match["host"], int(match["process"])):
                continue
            with contextlib.suppress(OSError):
                target = path.with_name(match["name"]) if path.suffix == ".old" else None
                if target is not None and not target.exists():
                    os.replace(path, target)
                    continue
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                removed += 1
    return removed


def reason(error: BaseException) -> str:
    """Why a write failed, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]


def _place(path: str | os.PathLike) -> Path:
    """`path`, which names a file or folder inside another. Raises UserError."""
    path = Path(path)
    if path.name in ("", ".."):
        raise Unwritable(f"{os.fspath(path)!r} is no name to write to")
    return path


def _fault(path: Path) -> str | None:
    """Why a file cannot take the place of what is at `path`."""
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):
        return None  # not there; what else is wrong shows when it is written
    if stat.S_ISDIR(kind):
        return "it is a folder"
    # a link in /dev leads to where the output of this process goes
    if not stat.S_ISREG(kind) or path.absolute().parent == Path("/dev"):
        return "it is no plain file"
    return None


def _unwritten(path: Path, error: Exception) -> Unwritable:
    if isinstance(error, RuntimeError):
        return Unwritable(f"{path} cannot be written: a write failed half-way{space.told(path)}")
    full = getattr(error, "errno", None) in _FULL or "No space left" in str(error)
    return Unwritable(f"{path} cannot be written: {reason(error)}{space.told(path) if full else ''}")


def _temporary_name(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]  # names may be long
    return f".{digest}.{_host()}-{os.getpid()}-{next(_numbers)}.tmp"


@functools.cache
def _host() -> str:
    """Where process numbers mean the same: machine, boot, and container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _abandoned(path: Path, host: str, process: int) -> bool:
    if host != _host():
        try:
            return time.time() - path.stat().st_mtime > STALE
        except OSError:
            return False
    if process == os.getpid():
        return True  # of an earlier process with this number; ours are known
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    began = _began(process)
    try:  # a process that began after the last write has but the number of the one that wrote
        return began is not None and path.stat().st_mtime < began - 60
    except OSError:
        return False


def _began(process: int) -> float | None:
    """When a process of this machine began, in seconds since 1970, where the system tells."""
    try:
        after_name = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        ticks = int(after_name.split()[19])
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step, so that a kill finds one of them in place; False where the system cannot."""
    try:
        swap = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return swap(-100, os.fsencode(one.absolute()), -100, os.fsencode(other.absolute()), 2) == 0


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
