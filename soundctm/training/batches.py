"""Batches of latents with their text, as a pure function of step and row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from soundctm.text import TextConditioning, TextEncoder
from soundctm.training.rows import generator, generators, normal

ROWS, ORDER, POSTERIOR = 1, 2, 3  # streams of random numbers
AT_ONCE = 256  # captions encoded together before a training


class Latents(Protocol):
    """A set of captioned clips as VAE moments (soundctm.data.latents)."""

    captions: Sequence[str]
    scale_factor: float

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Mean and log-variance float32 [C, T/4, F], caption."""
        ...


@dataclass
class LatentRows:
    """Rows of a step on the CPU: clean latents [B, C, T/4, F] and captions, "" where the caption was dropped."""

    latents: torch.Tensor
    captions: list[str]
    rows: range  # their numbers in the global batch


@dataclass
class Batch:
    """Clean latents [B, C, T/4, F], the text rows, the empty prompt's rows, and their numbers in the global batch."""

    latents: torch.Tensor
    text: TextConditioning
    empty: TextConditioning
    rows: range


class LatentBatches:
    """Shuffles all items anew every epoch and cuts the order into global batches of `total` rows."""

    def __init__(self, data: Latents, total: int, text_dropout: float, seed: int, shuffle: bool = True) -> None:
        """`text_dropout` is the share of captions replaced by the empty prompt."""
        self.data, self.total, self.text_dropout, self.seed = data, total, text_dropout, seed
        self.shuffle = shuffle
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)

    def items(self, step: int, rows: Iterable[int]) -> list[int]:
        """Item numbers of rows of the global batch of `step`."""
        return [self._item(step * self.total + row) for row in rows]

    def batch(self, step: int, rows: range) -> LatentRows:
        """Sampled latents and captions; every row has its own random numbers."""
        mean, logvar, captions = zip(*(self.data[item] for item in self.items(step, rows)), strict=True)
        noise = normal(mean[0].shape, generators(self.seed, step, rows, POSTERIOR))
        latents = self.data.scale_factor * (torch.stack(mean) + torch.exp(0.5 * torch.stack(logvar)) * noise)
        return LatentRows(latents, self.dropped(step, rows, captions), rows)

    def dropped(self, step: int, rows: Iterable[int], captions: Sequence[str]) -> list[str]:
        """The captions of `rows`, some replaced by the empty prompt."""
        draws = [float(torch.rand((), generator=row)) for row in generators(self.seed, step, rows, ROWS)]
        return ["" if draw < self.text_dropout else text for draw, text in zip(draws, captions, strict=True)]

    def _item(self, position: int) -> int:
        count = len(self.data.captions)
        epoch, place = divmod(position, count)
        if not self.shuffle:
            return place
        if epoch != self._epoch:
            self._epoch, self._order = epoch, torch.randperm(count, generator=generator(self.seed, epoch, stream=ORDER))
        return int(self._order[place])


def encode_all(encoder: TextEncoder, captions: Iterable[str]) -> None:
    """Encode every caption once, in one order: its last bits depend on what it is encoded with, and a resumed run
    must see the same ones."""
    wanted = ["", *sorted(set(captions) - {""})]
    for start in range(0, len(wanted), AT_ONCE):
        encoder.encode(wanted[start : start + AT_ONCE])


def with_text(rows: LatentRows, encoder: TextEncoder, device: torch.device | str) -> Batch:
    """The batch on `device`."""
    text, empty = encoder.encode(rows.captions), encoder.encode([""] * len(rows.captions))
    return Batch(rows.latents.to(device, non_blocking=True), text.to(device), empty.to(device), rows.rows)
