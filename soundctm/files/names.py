"""Names that come out of files (tables, lists, archives) stay inside the folder that they belong to."""

from __future__ import annotations

import os
import re
from pathlib import Path

from soundctm.errors import UserError

LONGEST_PART = 255  # bytes of a file's or folder's name that file systems take


def inside(folder: str | os.PathLike, name: str, source: str | os.PathLike = "", links: bool = False) -> Path:
    """`folder` / `name` for a name found in the file `source`, as it is written.

    Raises UserError for an empty name, an absolute one, one with a drive letter, with `..` between slashes or
    backslashes, with control characters, with a part of more than LONGEST_PART bytes, for the folder itself, and for
    one that a link leads out of `folder`; with `links`, links are followed (folders that are only read).
    """
    wrong = _fault(name)
    if wrong:
        raise UserError(f"{_where(source)}the name {_shown(name)} {wrong}; names stay inside {folder}")
    path = Path(folder) / name
    if links:
        return path
    try:
        home, found = Path(folder).resolve(), path.resolve()
    except (OSError, RuntimeError) as error:
        raise UserError(f"{_where(source)}the name {_shown(name)} cannot be used: {error}") from error
    if home not in found.parents:
        raise UserError(f"{_where(source)}the name {_shown(name)} is a link that leads out of {folder}")
    return path


def _fault(name: str) -> str:
    if not isinstance(name, str) or not name.strip():
        return "is empty"
    if re.search(r"[\0-\x1f\x7f]", name):
        return "has a control character"
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        return "is an absolute path"
    parts = re.split(r"[\\/]", name)
    if ".." in (part.strip() for part in parts):
        return "leads out of its folder"
    if set(parts) <= {"", "."}:
        return "names the folder itself"
    try:
        if any(len(part.encode("utf-8", "surrogateescape")) > LONGEST_PART for part in name.split("/")):
            return f"has a part of more than {LONGEST_PART} bytes"
    except UnicodeEncodeError:
        return "has half a character"
    return ""


def _where(source: str | os.PathLike) -> str:
    return f"{source}: " if source else ""


def _shown(name: object) -> str:
    text = repr(name) if isinstance(name, str) else ascii(name)
    return text if len(text) <= 80 else text[:77] + "..."
