"""Batches of cached latents with their text, as a pure function of the step number."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from soundctm.data.latents import LatentDataset
from soundctm.text import TextConditioning, TextEncoder
from soundctm.training.run import generator


@dataclass
class Batch:
    """Clean latents [B, C, T/4, F], the text rows and the empty prompt's rows."""

    latents: torch.Tensor
    text: TextConditioning
    empty: TextConditioning


class LatentBatches:
    """Shuffles all items anew every epoch and cuts the order into steps, shared out over processes."""

    def __init__(
        self,
        latents: LatentDataset,
        encoder: TextEncoder,
        batch_size: int,
        text_dropout: float,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """`batch_size` is per process; `text_dropout` is the share of captions replaced by the empty prompt."""
        self.latents, self.encoder = latents, encoder
        self.batch_size, self.text_dropout = batch_size, text_dropout
        self.seed, self.rank, self.world = seed, rank, world
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.long)
        # All captions now and in one order: a caption's last bits depend on what it is encoded with, and a resumed
        # run must see the same ones.
        captions = ["", *sorted(set(latents.captions))]
        for start in range(0, len(captions), 256):
            encoder.encode(captions[start : start + 256])

    def rows(self, step: int) -> torch.Tensor:
        """Item numbers [B] of this process at `step`."""
        first = (step * self.world + self.rank) * self.batch_size
        return torch.tensor([self._item(position) for position in range(first, first + self.batch_size)])

    def __call__(self, step: int, device: torch.device | str = "cpu") -> Batch:
        """The batch of one step."""
        draws = generator(self.seed, step, self.rank, stream=1)
        rows = self.rows(step)
        latents = self.latents.draw(rows, draws)
        dropped = torch.rand(len(rows), generator=draws) < self.text_dropout
        captions = ["" if gone else self.latents.captions[row] for row, gone in zip(rows, dropped, strict=True)]
        text, empty = self.encoder.encode(captions), self.encoder.encode([""] * len(captions))
        return Batch(latents.to(device), text.to(device), empty.to(device))

    def _item(self, position: int) -> int:
        count = len(self.latents.captions)
        epoch, place = divmod(position, count)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, torch.randperm(count, generator=generator(self.seed, epoch, stream=2))
        return int(self._order[place])
