"""Batches in the order of the steps, prepared ahead by worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from soundctm.training.inputs.rows import Shares
from soundctm.training.running.stop import SIGNALS
from soundctm.training.tasks.task import Source


class _MicroBatches(Dataset):
    """`dataset[step * micro_batches + m]` is micro-batch m of a step."""

    def __init__(self, source: Source, shares: Shares) -> None:
        self.source, self.shares = source, shares

    def __getitem__(self, index: int) -> Any:
        step, micro_batch = divmod(index, self.shares.micro_batches)
        return self.source.batch(step, self.shares.rows(micro_batch))


def micro_batches(
    source: Source, shares: Shares, first: int, steps: int, workers: int, device: torch.device
) -> Iterator[Any]:
    """The micro-batches of this process from step `first` to the end at `steps`.

    Batches are functions of their number, so `workers` (-1: chosen by the device) changes nothing but the speed.
    """
    workers = worker_count(workers, device)
    order = range(first * shares.micro_batches, steps * shares.micro_batches)
    loader = DataLoader(
        _MicroBatches(source, shares),
        batch_size=None,
        sampler=order,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_ignore_signals,
    )
    return iter(loader)


def worker_count(workers: int, device: torch.device) -> int:
    """Processes that prepare data; -1 is 4 beside a GPU and none on a CPU, which has its hands full."""
    if workers >= 0:
        return workers
    return min(4, os.cpu_count() or 1) if device.type == "cuda" else 0


def _ignore_signals(_: int) -> None:
    """A signal to the whole job must not end a worker while the run still finishes its step."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
