"""Writing a whole file or none of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from soundctm.errors import UserError


def write_whole(path: str | os.PathLike, content: str | bytes) -> None:
    """Write `content` (text as UTF-8) under a temporary name, then rename it to `path`, whose folder is made.

    Raises UserError when the place cannot be written.
    """
    path = Path(path)
    digest = hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).hexdigest()[:16]  # names may be long
    temporary = path.with_name(f".{digest}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()
