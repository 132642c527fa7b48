"""Torch files packed again with compression, as archive programs do."""

from __future__ import annotations

import zipfile
from pathlib import Path


def repack(source: Path, target: Path) -> None:
    """The records of the zip file `source`, compressed, in another zip file."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
