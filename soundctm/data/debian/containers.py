"""Reading the archives in which games keep their sounds: zip (also pk3), Qt resources (rcc), OpenTTD sound sets (cat).

In the corpus table a path such as `usr/share/x/instruments.rcc.d/a/b.ogg` means the member `a/b.ogg` inside the
archive `usr/share/x/instruments.rcc`.
"""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from soundctm.errors import UserError

# A container inside a path: everything up to a known ending, then ".d/", then the member.
_INSIDE = re.compile(r"^(?P<archive>.+\.(?P<kind>zip|pk3|rcc|cat))\.d/(?P<member>.+)$")
MOST_BYTES = 512 * 2**20  # of one sound
MOST_NODES = 1_000_000  # files and folders of a Qt resource file
MOST_DEPTH = 50  # folders within each other
RCC_COMPRESSED, RCC_DIRECTORY, RCC_ZSTD = 1, 2, 4


def split_path(path: str) -> tuple[str, str | None]:
    """(path of the file in the package, member inside it or None)."""
    match = _INSIDE.match(path)
    return (match["archive"], match["member"]) if match else (path, None)


def iterate_members(file: BinaryIO, archive: str, keep: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the members of a seekable archive for whose name `keep` is true.

    `archive` is its file name; the ending tells the format. Raises UserError for a damaged or unknown archive.
    """
    readers = {"zip": _zip, "pk3": _zip, "rcc": _rcc, "cat": _cat}
    kind = archive.rsplit(".", 1)[-1].lower()
    if kind not in readers:
        raise UserError(f"{archive} is no known archive; zip, pk3, rcc and cat are")
    try:
        yield from readers[kind](file, keep)
    except UserError as error:
        raise UserError(f"{archive}: {error}") from error
    except _DAMAGE as error:
        raise UserError(f"{archive} is damaged, or cannot be read: {error}") from error


# RuntimeError: an encrypted zip; NotImplementedError: one packed in a rare way.
_DAMAGE = (
    *(zipfile.BadZipFile, struct.error, zlib.error, lzma.LZMAError, UnicodeDecodeError),
    *(IndexError, ValueError, EOFError, OSError, OverflowError, RuntimeError, NotImplementedError),
)


def cat_number(member: str) -> str:
    """What names a sound of an OpenTTD set: its two-digit position; the rest of the name is a free description."""
    return member.split("_", 1)[0]


def _zip(file: BinaryIO, keep: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if not name.endswith("/") and keep(name):
                if archive.getinfo(name).file_size > MOST_BYTES:
                    raise _too_large(name)
                with archive.open(name) as member:
                    content = member.read(MOST_BYTES + 1)
                if len(content) > MOST_BYTES:
                    raise _too_large(name)
                yield name, content


def _too_large(name: str) -> UserError:
    return UserError(f"{name[:200]} unpacks to more than {MOST_BYTES} bytes, the most that is read of a sound")


def _inflated(packed: bytes, name: str) -> bytes:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(packed, MOST_BYTES)
    if unpacking.unconsumed_tail:
        raise _too_large(name)
    if not unpacking.eof:
        raise UserError(f"{name[:200]} is cut off")
    return content


def _rcc(file: BinaryIO, keep: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Qt resource file: a tree of nodes, a table of UTF-16 names and the data, all big-endian."""
    content = file.read()
    magic, version, tree, data, names = struct.unpack_from(">4sIIII", content)
    if magic != b"qres" or version not in (1, 2, 3):
        raise UserError("not a Qt resource file of version 1 to 3")
    node_size = 14 if version == 1 else 22  # newer nodes end with a time stamp

    def name_at(offset: int) -> str:
        (length,) = struct.unpack_from(">H", content, names + offset)
        start = names + offset + 6
        return content[start : start + 2 * length].decode("utf-16-be")

    seen: set[int] = set()  # a damaged tree may lead back to where it came from

    def walk(node: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        name_offset, flags = struct.unpack_from(">IH", content, tree + node * node_size)
        if node in seen or len(seen) >= MOST_NODES or prefix.count("/") > MOST_DEPTH:
            raise UserError(f"its tree of files leads back into itself, or is deeper than {MOST_DEPTH}")
        seen.add(node)
        name = prefix + (name_at(name_offset) if node else "")
        if flags & RCC_DIRECTORY:
            count, first = struct.unpack_from(">II", content, tree + node * node_size + 6)
            for child in range(first, first + count):
                yield from walk(child, f"{name}/" if name else "")
        elif keep(name):
            (offset,) = struct.unpack_from(">I", content, tree + node * node_size + 10)
            (size,) = struct.unpack_from(">I", content, data + offset)
            raw = content[data + offset + 4 : data + offset + 4 + size]
            if flags & RCC_ZSTD:
                raise UserError(f"{name} is compressed with zstd, which is not supported")
            yield name, _inflated(raw[4:], name) if flags & RCC_COMPRESSED else raw

    yield from walk(0, "")


def _cat(file: BinaryIO, keep: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """OpenTTD sound set, little-endian: an index of (offset, size), then per sound its description and a RIFF file.

    Members are named `NN_description.wav`; `NN` is the position in the index.
    """
    content = file.read()
    (first,) = struct.unpack_from("<I", content)
    for number in range((first & 0x7FFFFFFF) // 8):
        offset, _ = struct.unpack_from("<II", content, 8 * number)
        offset &= 0x7FFFFFFF
        length = content[offset]
        description = content[offset + 1 : offset + 1 + length].split(b"\0")[0].decode("latin-1")
        name = f"{number:02d}_{description.replace(' ', '_')}.wav"
        if keep(name):
            start = offset + 1 + length
            (size,) = struct.unpack_from("<I", content, start + 4)
            yield name, content[start : start + 8 + size]
