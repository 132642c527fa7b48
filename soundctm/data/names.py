"""File names between lists, disks and machines: as written first, then in the forms that other systems give them.

A list may come from a machine that writes `sub\\a.wav`, decomposes letters (macOS: NFD) or trims spaces (Clotho has
names that begin with one). What exists under the very name that is written is always taken first.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path


def forms(name: str) -> Iterator[str]:
    """`name` itself, then the other ways in which it may be meant, each once."""
    seen: set[str] = set()
    for spaced in (name, name.strip()):
        for slashed in (spaced, spaced.replace("\\", "/")):
            for form in (slashed, unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed)):
                if form and form not in seen:
                    seen.add(form)
                    yield form


def normal(name: str) -> str:
    """The form under which two spellings of one name are equal: NFC, `/` between folders, no spaces around parts."""
    return "/".join(part.strip() for part in unicodedata.normalize("NFC", name).replace("\\", "/").split("/"))


def find_file(root: str | os.PathLike, name: str) -> Path:
    """The file that `name` means below `root`: the first of its `forms` that exists, else the path as written."""
    written = Path(root, name)
    return next((path for form in forms(name) if os.path.isfile(path := Path(root, form))), written)


def shown(text: str | os.PathLike) -> str:
    """`text` as it can be printed and stored: bytes of a name that are no UTF-8 become `\\xe9`."""
    return os.fspath(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
