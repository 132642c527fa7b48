"""Files out of Debian packages: fetching one with apt, streaming its files without unpacking it to disk."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from soundctm.data.debian.containers import MOST_BYTES, cat_number, iterate_members, split_path
from soundctm.errors import Unwritable, UserError

logger = logging.getLogger(__name__)
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{0,199}")  # of a package
SOUNDS = (".wav", ".ogg", ".flac", ".mp3")


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise Unwritable(f"{folder} cannot be written: {error.strerror or error}") from error


def find_package(name: str, folder: Path) -> Path | None:
    """The .deb of package `name` in `folder` (the newest file, if there are several), or None."""
    if not NAME.fullmatch(name):
        return None
    found = sorted(folder.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def fetch_package(name: str, folder: Path) -> Path:
    """The .deb of package `name`, from `folder` or through `apt-get download`. Raises UserError if it cannot be had."""
    found = find_package(name, folder)
    if found is not None:
        return found
    if not NAME.fullmatch(name):  # it would be taken for an option, or for a path
        raise UserError(f"{name[:80]!r} is no name of a Debian package")
    if shutil.which("apt-get") is None:
        raise UserError(f"no {name}_*.deb in {folder}, and no apt-get here to fetch it")
    with _writing(folder), tempfile.TemporaryDirectory(dir=folder) as work:
        result = subprocess.run(
            ["apt-get", "-q", "download", "--", name], cwd=work, capture_output=True, text=True, check=False
        )
        fetched = list(Path(work).glob("*.deb"))
        if result.returncode or not fetched:
            reason = (result.stderr.strip().splitlines() or ["no message"])[-1]
            raise UserError(f"apt-get cannot fetch the package {name}: {reason}")
        return Path(shutil.move(fetched[0], folder / fetched[0].name))


def package_files(deb: Path, wanted: set[str], every_sound: bool = False) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the files of a package whose path in the form of the corpus table is in `wanted`.

    `every_sound` gives all sound files instead, to look for one by its hash. Raises UserError for a damaged package.
    """
    keys = {_key(path) for path in wanted}
    archives = {split_path(path)[0] for path in wanted if split_path(path)[1] is not None}
    with _tar_stream(deb) as tar:
        for member in tar:
            if not member.isfile():
                continue
            name = member.name.removeprefix("./")
            if name in archives:
                yield from _from_archive(tar, member, name, keys, every_sound)
            elif name in keys or (every_sound and name.lower().endswith(SOUNDS)):
                file = tar.extractfile(member)
                assert file is not None  # isfile() above
                if member.size > MOST_BYTES:
                    raise UserError(f"{name[:200]} is larger than {MOST_BYTES} bytes, the most that is read of a sound")
                yield name, file.read()


def same_file(first: str, second: str) -> bool:
    """Whether two paths in the form of the corpus table mean one file."""
    return _key(first) == _key(second)


def _from_archive(
    tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, keys: set[str], every_sound: bool
) -> Iterator[tuple[str, bytes]]:
    stream = tar.extractfile(member)
    assert stream is not None
    with tempfile.TemporaryFile() as copy:  # archives are read with seeks; some are too large for memory
        shutil.copyfileobj(stream, copy)
        copy.seek(0)

        def keep(inner: str) -> bool:
            return (every_sound and inner.lower().endswith(SOUNDS)) or _key(f"{name}.d/{inner}") in keys

        for inner, content in iterate_members(copy, name, keep):
            yield f"{name}.d/{inner}", content


def _key(path: str) -> str:
    archive, member = split_path(path)
    if member is not None and archive.endswith(".cat"):
        return f"{archive}.d/{cat_number(member)}"
    return path


@contextlib.contextmanager
def _tar_stream(deb: Path) -> Iterator[tarfile.TarFile]:
    if shutil.which("dpkg-deb") is None:
        raise UserError("dpkg-deb is needed to open Debian packages, and it is not installed here")
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield tar
    except tarfile.TarError as error:
        process.wait()
        message = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
        raise UserError(f"{deb} cannot be opened: {message or error}") from error
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait()
