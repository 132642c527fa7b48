"""The rows of a global batch, and random numbers that belong to a row.

A step trains on `Shares.total` rows, numbered 0 .. total - 1 whatever the number of processes. Everything random about
a row is a function of (seed, step, row), so 1 process with 8 rows and 2 processes with 4 rows each draw the same
numbers, and a run resumed at any step draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from soundctm.errors import UserError

ORDER = 2  # stream of random numbers, of the order of an epoch


@dataclass(frozen=True)
class Shares:
    """How the rows of a step are shared out: `size` rows at a time, on every process, `micro_batches` times."""

    size: int
    processes: int = 1
    rank: int = 0
    micro_batches: int = 1

    @property
    def total(self) -> int:
        """Rows per step over all processes: the global batch."""
        return self.size * self.processes * self.micro_batches

    def rows(self, micro_batch: int) -> range:
        """The rows of one micro-batch of this process."""
        start = (micro_batch * self.processes + self.rank) * self.size
        return range(start, start + self.size)

    @staticmethod
    def of(size: int, processes: int, rank: int, micro_batches: int = 1, total: int = 0) -> Shares:
        """`total` rows (0: whatever comes out) in micro-batches of `size`. Raises UserError when they do not fit."""
        if size < 1 or micro_batches < 1:
            raise UserError(f"a batch of {size} rows in {micro_batches} micro-batches; both must be at least 1")
        if total:
            if total % (size * processes):
                raise UserError(
                    f"total_batch_size is {total}; it must be a multiple of {size} rows on {processes} processes"
                )
            micro_batches = total // (size * processes)
        return Shares(size, processes, rank, micro_batches)


def generator(seed: int, step: int, row: int = 0, stream: int = 0) -> torch.Generator:
    """The CPU generator of one row of one step; `stream` tells apart what is drawn there."""
    state = np.random.SeedSequence((seed, step, row, stream)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def generators(seed: int, step: int, rows: Iterable[int], stream: int = 0) -> list[torch.Generator]:
    """One generator per row."""
    return [generator(seed, step, row, stream) for row in rows]


def device_generator(seed: int, step: int, rows: range, device: torch.device, stream: int = 0) -> torch.Generator:
    """One generator on `device` for all of a micro-batch's rows: faster there than one per row on the CPU.

    What it draws depends on how rows are shared out, and on the kind of device.
    """
    state = np.random.SeedSequence((seed, step, rows.start, len(rows), stream)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


class Order:
    """Items 0 .. count - 1, shuffled anew in every epoch: a function of the seed and the place in the whole order."""

    def __init__(self, count: int, seed: int, shuffle: Callable[[torch.Generator], torch.Tensor] | None = None) -> None:
        """`shuffle` gives the [count] items of an epoch; a random permutation unless given."""
        self.count, self.seed, self.shuffle = count, seed, shuffle
        self._epoch, self._items = -1, torch.empty(0, dtype=torch.long)

    def __getitem__(self, place: int) -> int:
        epoch, within = divmod(place, self.count)
        if epoch != self._epoch:
            draws = generator(self.seed, epoch, stream=ORDER)
            self._items = self.shuffle(draws) if self.shuffle else torch.randperm(self.count, generator=draws)
            self._epoch = epoch
        return int(self._items[within])


def normal(shape: Sequence[int], draws: Iterable[torch.Generator]) -> torch.Tensor:
    """Standard normal numbers [rows, *shape], each row from its own generator."""
    return torch.stack([torch.randn(tuple(shape), generator=row) for row in draws])
