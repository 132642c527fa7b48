"""One's own captioned sounds: a CSV with the columns `file_name` and `caption` beside a folder of sound files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from soundctm.data.audio import SAMPLING_RATE, fit_clip, load_clip, normalise_peak, read_audio, remove_mean
from soundctm.data.names import find_file
from soundctm.data.tables import read_captions
from soundctm.errors import UserError

LISTED = 5  # missing files named in a message


@dataclasses.dataclass(frozen=True)
class CaptionedFile:
    """One row of a CSV: an existing sound file and what it is called."""

    path: Path
    caption: str
    line: int = dataclasses.field(default=0, compare=False)  # of the CSV


class CaptionedAudioDataset(Dataset):
    """`dataset[i] -> (waveform float32 [num_samples], caption)`, read as the official training reads (`load_clip`).

    An item depends on (seed, epoch, i) alone, so it is the same in any worker process and after a resume. Clips longer
    than `num_samples` give their beginning, or with `random_crop` another part in every epoch (`set_epoch`; call it
    before the workers of that epoch start).
    """

    def __init__(
        self,
        table: str | os.PathLike,
        root: str | os.PathLike | None = None,
        *,
        num_samples: int = 163_840,
        sampling_rate: int = SAMPLING_RATE,
        random_crop: bool = False,
        seed: int = 0,
    ):
        self.files = read_captioned_files(table, root)
        self.num_samples = num_samples
        self.sampling_rate = sampling_rate
        self.random_crop = random_crop
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose which random parts of long clips the items hold."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        file = self.files[index]
        if not self.random_crop:
            return load_clip(file.path, self.num_samples, self.sampling_rate), file.caption
        waveform = normalise_peak(remove_mean(read_audio(file.path, self.sampling_rate)[0]))
        room = waveform.numel() - self.num_samples
        if room > 0:
            generator = torch.Generator().manual_seed(hash((self.seed, self.epoch, index)) & (2**63 - 1))
            start = int(torch.randint(room + 1, (), generator=generator))
            waveform = waveform[start : start + self.num_samples]
        return fit_clip(waveform, self.num_samples), file.caption


def read_captioned_files(
    table: str | os.PathLike, root: str | os.PathLike | None = None, must_exist: bool = True
) -> list[CaptionedFile]:
    """Rows of a CSV `file_name,caption`, file names relative to `root` (default: the CSV's folder).

    A file is the one whose name is as written, else as other systems write it (`find_file`). Raises UserError as
    `read_captions`, and for absent sound files (unless `must_exist` is false).
    """
    root = Path(root) if root is not None else Path(table).parent
    rows = read_captions(table, ("file_name", "caption"))
    files = [CaptionedFile(find_file(root, row.file_name), row.caption, row.line) for row in rows]
    if must_exist:
        _check_files(files, Path(table))
    return files


def collate(items: Sequence[tuple[Tensor, str]]) -> tuple[Tensor, list[str]]:
    """Items of a batch as ([B, num_samples], captions)."""
    waveforms, captions = zip(*items, strict=True)
    return torch.stack(waveforms), list(captions)


def _check_files(files: Sequence[CaptionedFile], table: Path) -> None:
    absent = [str(file.path) for file in files if not os.path.isfile(file.path)]
    if absent:
        more = f" and {len(absent) - LISTED} more" if len(absent) > LISTED else ""
        raise UserError(
            f"{len(absent)} of {len(files)} sound files of {table} do not exist: {', '.join(absent[:LISTED])}{more}"
        )
