"""Writing to a disk that may be full: one sentence that names the path and the space, instead of a traceback."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from soundctm.errors import UserError


@contextlib.contextmanager
def writing(path: str | os.PathLike, what: str) -> Iterator[None]:
    """Turn the failure to write `what` below `path` into a UserError.

    torch's and safetensors' writers raise RuntimeError where the system refuses; it counts as a failed write too.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise UserError(f"{what} cannot be written to {path}: {reason} ({free_space(path)})") from error


def free_space(path: str | os.PathLike) -> str:
    """How much room the disk of `path` has, for a message."""
    usage = shutil.disk_usage(_existing(Path(path)))
    return f"{size(usage.free)} of {size(usage.total)} are free there"


def size(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
