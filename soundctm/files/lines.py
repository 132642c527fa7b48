"""Files that grow by lines (manifests, logs): a line is there whole or not at all, and on the disk when it is told."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from soundctm.errors import Unwritable
from soundctm.files.space import told
from soundctm.files.writing import reason


def append_line(path: str | os.PathLike, line: str) -> None:
    """Append one line, flushed; what an earlier run could not finish at the end is removed before. The folder is made.

    Raises UserError when not all of it could be written; then nothing of it stays.
    """
    path = Path(path)
    content = (line + "\n").encode("utf-8", "surrogateescape")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_unfinished(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            _write(descriptor, content)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unwritable(f"{path} cannot be written: {reason(error)}{told(path)}") from error


def cut_unfinished(path: str | os.PathLike) -> bool:
    """Remove what stands behind the last line break of a file; whether there was anything."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            return True
    return False


def _write(descriptor: int, content: bytes) -> None:
    size, rest = os.fstat(descriptor).st_size, content
    try:
        while rest:  # a full disk takes a part first, and says so only at the next write
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
