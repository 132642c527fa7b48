"""Data sets beyond a disk: tar shards as WebDataset writes them, local or remote.

An index lists them, `{"shardlist": [{"url": "sounds-000000.tar", "nsamples": 1000}, ...]}`; urls are relative to the
index, and stay below its folder, or https:// addresses, for which the package webdataset is needed. Inside a shard,
files of one name belong together: `0001.flac` (or wav, ogg, mp3) and `0001.txt` with the caption. Folders are part of
the name, up to the first dot of the file's own; what macOS adds (`._0001.flac`, `__MACOSX`) and other hidden files are
none of the clips.

    python -m soundctm.data.shards --train_file train.csv --audio_dir AUDIO --output_dir shards    # packs a CSV

A clip is a function of its number, so a training goes on where it was. An epoch takes the shards one after the other in
random order, and the clips of each in random order: at any time few shards are needed, and those are fetched into a
cache of limited size.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import re
import sys
import tarfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from soundctm.command import Parser, exit_code
from soundctm.data.audio import ClipForm, decode_audio
from soundctm.data.dataset import CaptionedFile, read_captioned_files
from soundctm.errors import UserError
from soundctm.files import ensure_writable, inside, sweep, whole_file, write_whole
from soundctm.files.reading import read_json

logger = logging.getLogger(__name__)

SOUNDS = ("wav", "flac", "ogg", "mp3")
HTTPS = "https://"
_HTTPS_URL = re.compile(r"https://[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?/[A-Za-z0-9._~/%+=&?,:@-]+")
MOST_INDEX_BYTES = 64 * 2**20
MOST_IN_SHARD, MOST_CLIPS = 1_000_000, 100_000_000
OPEN_SHARDS = 4  # whose lists of files a process keeps


class ShardedClips:
    """`data.heard(i) -> (waveform [samples], caption)`; latents are encoded as the clips are needed (`live`)."""

    live = True

    def __init__(
        self,
        index: str | os.PathLike,
        cache_dir: str | os.PathLike,
        form: ClipForm,
        scale_factor: float,
        shape: Sequence[int],
        cache_gib: float = 50.0,
    ) -> None:
        """`shape` and `scale_factor` are those of the codec's latents.

        Raises UserError for an unusable index.
        """
        self.index, self.cache_dir, self.cache_gib = Path(index), Path(cache_dir), cache_gib
        self.form, self.scale_factor, self.shape = form, scale_factor, tuple(shape)
        self.urls, counts = read_index(self.index)
        self.starts = [0, *itertools.accumulate(counts)]
        self._members: OrderedDict[int, list[dict[str, tuple[int, int]]]] = OrderedDict()
        self._paths: dict[int, str] = {}

    def __len__(self) -> int:
        return self.starts[-1]

    def order(self, generator: torch.Generator) -> Tensor:
        """The clips of one epoch: shards in random order, the clips of each in random order."""
        parts = []
        for shard in torch.randperm(len(self.urls), generator=generator).tolist():
            first, last = self.starts[shard : shard + 2]
            parts.append(first + torch.randperm(last - first, generator=generator))
        return torch.cat(parts)

    def heard(self, index: int) -> tuple[Tensor, str]:
        """One clip and its caption. Raises UserError when it cannot be read, or has no caption."""
        shard = next(k for k in range(len(self.urls)) if index < self.starts[k + 1])
        members = self._members_of(shard)
        place = index - self.starts[shard]
        if place >= len(members):
            raise UserError(f"{self.urls[shard]} holds {len(members)} clips, not the {place + 1} that the index says")
        files = members[place]
        kind = next((kind for kind in SOUNDS if kind in files), None)
        name = f"clip {place} of {self.urls[shard]}"
        if kind is None or "txt" not in files:
            raise UserError(f"{name} needs a sound ({', '.join(SOUNDS)}) and a caption (txt); it has {sorted(files)}")
        try:
            caption = " ".join(self._content(shard, files["txt"]).decode("utf-8-sig").split())
        except UnicodeDecodeError as error:
            raise UserError(f"the caption of {name} is not UTF-8 text") from error
        if not caption:
            raise UserError(f"the caption of {name} is empty")
        samples, rate = decode_audio(io.BytesIO(self._content(shard, files[kind])), name)
        return self.form.of(samples, rate, name), caption

    def _members_of(self, shard: int) -> list[dict[str, tuple[int, int]]]:
        """(offset, size) by kind of file, for every clip of a shard, which is fetched if it is not there."""
        if shard not in self._members:
            self._paths[shard] = self._fetch(self.urls[shard])
            clips: dict[str, dict[str, tuple[int, int]]] = {}
            try:
                if not Path(self._paths[shard]).is_file():
                    raise OSError("there is no such file")
                size = os.path.getsize(self._paths[shard])
                with tarfile.open(self._paths[shard], "r:") as tar:
                    for member in tar:
                        named = clip_and_kind(member.name) if member.isfile() else None
                        if named is not None:
                            if member.offset_data + member.size > size:
                                raise tarfile.ReadError(f"{member.name} ends behind the end of the file")
                            clips.setdefault(named[0], {})[named[1]] = (member.offset_data, member.size)
            except (OSError, tarfile.TarError, ValueError, OverflowError) as error:
                raise UserError(f"the shard {self.urls[shard]} cannot be read as a plain tar: {error}") from error
            self._members[shard] = list(clips.values())
            if len(self._members) > OPEN_SHARDS:
                self._paths.pop(self._members.popitem(last=False)[0])
        return self._members[shard]

    def _content(self, shard: int, where: tuple[int, int]) -> bytes:
        with open(self._paths[shard], "rb") as file:
            file.seek(where[0])
            return file.read(where[1])

    def _fetch(self, url: str) -> str:
        """The local path of a shard."""
        if not url.startswith(HTTPS):
            return str(self.index.parent / url)
        from webdataset.cache import FileCache  # only remote shards need the package

        ensure_writable(self.cache_dir)
        cache = FileCache(str(self.cache_dir), cache_size=int(self.cache_gib * 2**30))
        try:
            return cache.get_file(url)
        except (OSError, ValueError) as error:
            raise UserError(f"the shard {url} cannot be fetched: {error}") from error


def clip_and_kind(member: str) -> tuple[str, str] | None:
    """A file of a shard as (clip, kind): "./v1.2/0001.FLAC" is ("v1.2/0001", "flac"); None for what is no clip's."""
    *folders, name = [part for part in member.split("/") if part not in ("", ".")]
    stem, _, kind = name.partition(".")
    if not stem or "__MACOSX" in folders:
        return None
    return "/".join([*folders, stem]), kind.lower()


def read_index(path: Path) -> tuple[list[str], list[int]]:
    """Urls and numbers of clips. Raises UserError when the file is not such an index."""
    wanted = f'{path} is no index {{"shardlist": [{{"url": ..., "nsamples": ...}}]}}'
    values = read_json(path, None, limit=MOST_INDEX_BYTES)
    shards = values.get("shardlist") if isinstance(values, dict) else None
    if not isinstance(shards, list) or not all(isinstance(shard, dict) for shard in shards):
        raise UserError(wanted)
    urls, counts = [shard.get("url") for shard in shards], [shard.get("nsamples") for shard in shards]
    for number, (url, count) in enumerate(zip(urls, counts, strict=True)):
        place = f"{path}, shard {number}"
        if isinstance(count, bool) or not isinstance(count, int) or not count <= MOST_IN_SHARD:
            raise UserError(f"{place}: `nsamples` must be a whole number from 1 to {MOST_IN_SHARD}")
        _check_url(url, path, place)
    if sum(counts) > MOST_CLIPS:
        raise UserError(f"{path} says {sum(counts)} clips; up to {MOST_CLIPS} are read")
    if not urls or min(counts) < 1:
        raise UserError(f"{path} lists no shards, or one without clips")
    return urls, counts


def _check_url(url: object, index: Path, place: str) -> None:
    """Raises UserError for what is neither a file below the index's folder nor a plain https address.

    Other schemes, `pipe:` first of all, would run programs that the index names.
    """
    if not isinstance(url, str) or ":" not in url:
        inside(index.parent, url, place, links=True)
    elif not _HTTPS_URL.fullmatch(url) or ".." in url.split("/"):
        raise UserError(f"{place}: {url[:80]!r} is neither a file beside the index nor an https:// address")


def pack(files: Sequence[CaptionedFile], folder: Path, clips: int) -> Path:
    """Write shards of `clips` clips each and their index, whose path is returned. Files go in as they are."""
    sweep(folder)
    shards = []
    for number, start in enumerate(range(0, len(files), clips)):
        part = files[start : start + clips]
        name = f"sounds-{number:06d}.tar"
        with whole_file(folder / name) as temporary, tarfile.open(temporary, "w") as tar:
            for row, file in enumerate(part, start=start):
                try:
                    tar.add(file.path, f"{row:08d}{file.path.suffix.lower()}", recursive=False)
                except OSError as error:
                    if error.filename is None:
                        raise  # the shard cannot be written
                    raise UserError(f"{file.path} cannot be read: {error.strerror}") from error
                caption = file.caption.encode()
                info = tarfile.TarInfo(f"{row:08d}.txt")
                info.size = len(caption)
                tar.addfile(info, io.BytesIO(caption))
        shards.append({"url": name, "nsamples": len(part)})
    index = folder / "index.json"
    write_whole(index, json.dumps({"shardlist": shards}, indent=1) + "\n")
    return index


def main(arguments: Sequence[str]) -> int:
    """Pack a CSV. Returns the exit code."""
    parser = Parser(prog="python -m soundctm.data.shards", allow_abbrev=False)
    parser.add_argument("--train_file", required=True, help="CSV file_name,caption")
    parser.add_argument("--audio_dir", help="folder of its sounds; the CSV's if not given")
    parser.add_argument("--output_dir", required=True, type=Path, help="where shards and index.json go")
    parser.add_argument("--clips", type=int, default=1000, help="per shard (default: 1000)")
    given = parser.parse_args(arguments)

    def act() -> None:
        if not 1 <= given.clips <= MOST_IN_SHARD:
            raise UserError(f"--clips is {given.clips}; it must be a whole number from 1 to {MOST_IN_SHARD}")
        index = pack(read_captioned_files(given.train_file, given.audio_dir), given.output_dir, given.clips)
        print(f"packed: {index}")

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
