"""VAE moments of one's own clips, encoded once and kept on disk: one small file per clip.

    <folder>/<codec>-<samples>-30Hz/ab/abcdef...-0.safetensors   mean, logvar float16 [C, T, ...], unscaled
    <folder>/hashes-<process>.jsonl                         content hash by path, size and time of change

A file's name is the hash of the sound file's content and the segment's first sample; the folder's name tells the codec,
its precision and the form of the clip (`ClipForm.name`: length, rate, reading, high-pass filter). So a changed sound,
another codec or form is encoded anew, a sound that was moved is not, and an interrupted encoding goes on where it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from soundctm.data.audio import ClipForm
from soundctm.data.dataset import CaptionedFile
from soundctm.data.latents import state_hash
from soundctm.errors import UserError
from soundctm.files import sweep, whole_file
from soundctm.files.tensors import load_tensors, open_tensors

logger = logging.getLogger(__name__)

HASH = re.compile("[0-9a-f]{64}")


@dataclasses.dataclass
class ClipLatents:
    """`data[i] -> (mean, logvar, caption)` float32 from disk. `paths[i]` is None where a clip could not be encoded.

    Reading such a clip, or one whose file has gone, raises UserError.
    """

    files: Sequence[CaptionedFile]
    paths: Sequence[Path | None]
    reasons: dict[int, str]  # why not, by index
    scale_factor: float
    shape: tuple[int, ...]  # [C, T, ...]
    form: ClipForm

    def __post_init__(self) -> None:
        self.captions = [file.caption for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        path = self.paths[index]
        if path is None:
            raise UserError(self.reasons[index])
        try:
            moments = load_tensors(path)
            return moments["mean"].float(), moments["logvar"].float(), self.files[index].caption
        except (OSError, SafetensorError, KeyError) as error:
            raise UserError(
                f"the latents of {self.files[index].path} in {path} cannot be read ({error}); the next start makes "
                "them again"
            ) from error

    def readable(self) -> ClipLatents:
        """Without the clips that could not be encoded. Raises UserError when none is left."""
        kept = [i for i, path in enumerate(self.paths) if path is not None]
        if not kept:
            raise UserError(f"none of {len(self)} clips can be read, the first: {self.reasons[0]}")
        files, paths = [self.files[i] for i in kept], [self.paths[i] for i in kept]
        return dataclasses.replace(self, files=files, paths=paths, reasons={})

    def heard(self, index: int) -> tuple[Tensor, str]:
        """The sound itself, float32 [samples], and its caption. Raises UserError as `ClipForm.load` does."""
        file = self.files[index]
        return self.form.load(file.path), file.caption


def clip_latents(
    files: Sequence[CaptionedFile],
    codec: Any,
    folder: str | os.PathLike,
    form: ClipForm,
    *,
    device: torch.device | str = "cpu",
    bf16: bool = False,
    batch_size: int = 8,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    gather: Callable[[list], list] = list,
    progress: bool = True,
) -> ClipLatents:
    """The latents of `files`, of which this process encodes every `world`-th that is not on disk yet.

    `gather` joins the lists of all processes (accelerate.utils.gather_object). `codec` as for `latent_dataset`.
    """
    folder = Path(folder)
    precision = "-bf16" if bf16 else ""
    place = folder / f"{state_hash(codec.encoder_state())[:16]}{precision}-{form.name}"
    if rank == 0:
        for part in (*folder.glob("*/"), *folder.glob("*/*/")):
            sweep(part)
    hashes = HashIndex(folder, rank)
    shape = codec.latent_shape(form.num_samples / codec.sampling_rate)
    wanted = list(dict.fromkeys(file.path for file in files))[rank::world]
    loader = DataLoader(
        _Reading(wanted, place, hashes, form, shape),
        batch_size=None,
        num_workers=workers,
        shuffle=False,
    )
    found: list[tuple[Path, Path | None, str]] = []
    waiting: list[tuple[Path, Tensor]] = []
    home = codec.device
    codec.to(device)

    def encode() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            mean, logvar = codec.moments(torch.stack([waveform for _, waveform in waiting]).to(device))
        for (target, _), a, b in zip(waiting, mean.half().cpu(), logvar.half().cpu(), strict=True):
            _write(target, {"mean": a.contiguous(), "logvar": b.contiguous()})
        waiting.clear()

    try:
        for path, entry, waveform, reason in tqdm(loader, "latents", len(wanted), disable=not progress):
            if entry is not None:
                hashes.add(path, entry)
            target = None if reason else _place_of(place, entry[-1])
            found.append((path, target, reason))
            if waveform is not None:
                waiting.append((target, waveform))
            if len(waiting) == batch_size:
                encode()
        if waiting:
            encode()
    finally:
        codec.to(home)
        hashes.close()
    known = {path: (target, reason) for path, target, reason in gather(found)}
    paths = [known[file.path][0] for file in files]
    reasons = {i: known[file.path][1] for i, file in enumerate(files) if known[file.path][1]}
    return ClipLatents(files, paths, reasons, float(codec.scale_factor), shape, form)


class HashIndex:
    """Content hashes of files that have not changed since, so that a start need not read them all."""

    def __init__(self, folder: Path, rank: int = 0) -> None:
        """Read what is known. Raises UserError when `folder` cannot be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the cache {folder} cannot be written: {error.strerror}") from error
        self._known: dict[str, list] = {}
        for path in sorted(folder.glob("hashes-*.jsonl")):
            bad = 0
            with contextlib.suppress(OSError):
                for line in path.read_bytes().split(b"\n"):
                    if line and not self._learn(line):
                        bad += 1  # a line that a killed run did not finish, or a damaged one
            if bad:
                logger.warning("%s: %d damaged lines are passed over, their sounds are read again", path, bad)
        self._path = folder / f"hashes-{rank}.jsonl"
        self._file = None

    def get(self, path: Path) -> list:
        """[size, time, SHA-256] of the file as it is now. Raises OSError."""
        stat = path.stat()
        known = self._known.get(str(path))
        if known is not None and known[:2] == [stat.st_size, stat.st_mtime_ns]:
            return known
        return [stat.st_size, stat.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()]

    def add(self, path: Path, entry: list) -> None:
        """Remember an entry of `get`, which may have run in another process."""
        if self._known.get(str(path)) == entry:
            return
        self._known[str(path)] = entry
        try:
            if self._file is None:
                self._file = self._path.open("ab")
                if self._file.tell():
                    self._file.write(b"\n")  # ends a line that a killed run did not finish
            self._file.write(json.dumps([str(path), *entry]).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from error

    def _learn(self, line: bytes) -> bool:
        """Take in one line; whether it is one."""
        try:
            path, size, time, digest = json.loads(line)
        except (ValueError, TypeError, RecursionError):
            return False
        if not (isinstance(path, str) and isinstance(digest, str) and HASH.fullmatch(digest)):
            return False  # it becomes the name of a file
        self._known[path] = [size, time, digest]
        return True

    def close(self) -> None:
        """Write what is left; where that fails the next start computes these hashes again."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


@dataclasses.dataclass
class _Reading(Dataset):
    """Item: (path, hash entry, waveform if it must be encoded, reason why it cannot be)."""

    paths: Sequence[Path]
    place: Path
    hashes: HashIndex
    form: ClipForm
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Path, list | None, Tensor | None, str]:
        path = self.paths[index]
        try:
            entry = self.hashes.get(path)
            if _is_whole(_place_of(self.place, entry[-1]), self.shape):
                return path, entry, None, ""
            return path, entry, self.form.load(path), ""
        except OSError as error:
            return path, None, None, f"{path}: {error.strerror}"
        except UserError as error:
            return path, None, None, str(error)


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether moments of `shape` are there; a damaged file is told."""
    if not path.is_file():
        return False
    try:
        with open_tensors(path) as file:
            found = [tuple(file.get_slice(name).get_shape()) for name in ("mean", "logvar")]
        if all(part == tuple(shape) for part in found):
            return True
        problem = f"its shapes are {found}"
    except (OSError, SafetensorError) as error:
        problem = str(error)
    logger.warning("%s cannot be used and is made again: %s", path, problem)
    return False


def _place_of(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / f"{digest[:40]}-0.safetensors"


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    with whole_file(path) as temporary:
        save_file(tensors, temporary)
