"""How much room a disk has, for what is about to be written and for messages."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path


def check_room(folder: str | os.PathLike, needed: int) -> None:
    """Raises OSError, as the write itself would, when the disk of `folder` has less than `needed` bytes."""
    if needed and needed > shutil.disk_usage(_existing(Path(folder))).free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {shown(needed)} are needed")


def told(path: str | os.PathLike) -> str:
    """For a message, " (12 KiB of 300 KiB are free there)"; nothing where the system does not tell."""
    try:
        usage = shutil.disk_usage(_existing(Path(path)))
    except OSError:
        return ""
    return f" ({shown(usage.free)} of {shown(usage.total)} are free there)"


def shown(count: float) -> str:
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
