"""The zip files that torch writes: what one declares is looked at before anything is read.

torch stores its records uncompressed, so that they can be mapped from disk. A file that was packed again with
compression is read into memory instead: mapped, its compressed bytes would be taken for weights.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from .errors import CodecError

MOST_PICKLE = 64 * 2**20  # bytes of the records that are no tensors
MOST_GROWTH = 20  # times the file's size that its records may unfold to
LONGEST_NAME = 4096  # characters of a key, a class or a text in what is no tensor
PICKLES = 4  # at the head of the older layout: mark, version, machine, content
UNREADABLE = (
    *(ValueError, IndexError, KeyError, OverflowError, MemoryError, EOFError, OSError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError),
)

LFS = b"version https://git-lfs.github.com/spec/"


def can_be_mapped(path: Path) -> bool:
    """Whether the tensors of a torch file may be mapped; false for older layouts and for compressed records.

    Raises CodecError for an absent file, a Git LFS pointer, an encrypted archive and one that unfolds to too much.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(LFS)) == LFS:
                raise CodecError(
                    f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`, or take it from "
                    "the hub's download page"
                )
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                _check_names(file, path)
            return False
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, OverflowError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"{path} is not a torch checkpoint, or it is cut off or damaged ({error})") from error
    except OSError as error:
        raise CodecError(f"{path} cannot be read: {error.strerror or error}") from error
    if any(record.flag_bits & 1 for record in records):
        raise CodecError(f"{path} is an encrypted archive")
    compressed = [record for record in records if record.compress_type != zipfile.ZIP_STORED]
    size, unfolded = path.stat().st_size, sum(record.file_size for record in records)
    largest = max((r.file_size for r in records if "/data/" not in r.filename), default=0)
    if largest > MOST_PICKLE or unfolded > MOST_GROWTH * size + MOST_PICKLE:
        raise CodecError(
            f"{path} is refused: {size} bytes would unfold to {unfolded}; weights do not compress that far, and what "
            f"describes them stays below {MOST_PICKLE} bytes"
        )
    pickles = [record for record in records if record.filename.rsplit("/", 1)[-1] == "data.pkl"]
    for record in pickles:
        try:
            with zipfile.ZipFile(path) as archive:
                content = archive.read(record)
        except UNREADABLE as error:
            raise CodecError(f"{path} is not a torch checkpoint, or it is cut off or damaged") from error
        _check_names(io.BytesIO(content), path, 1)
    return not compressed


def _check_names(file: BinaryIO, path: Path, count: int = PICKLES) -> None:
    """Refuses pickles that name what no program has: torch takes minutes to say what is wrong with long names."""
    try:
        for _ in range(count):
            for _, argument, _ in pickletools.genops(file):  # reads the instructions, runs none
                if isinstance(argument, str) and len(argument) > LONGEST_NAME:
                    raise CodecError(f"{path} is refused: it holds a name of {len(argument)} characters")
    except CodecError:
        raise
    except UNREADABLE as error:  # which torch tells, unless it would stumble over a name before
        file.seek(0)
        if re.search(rb"[^\n]{%d}" % (LONGEST_NAME + 1), file.read(MOST_PICKLE)):
            raise CodecError(f"{path} is not a torch checkpoint, or it is cut off or damaged") from error
