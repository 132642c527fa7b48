"""Agreeing between the processes of one run; with a single process everything is returned as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist


def processes() -> int:
    """How many processes share the run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor of equal shape on every process; no gradient goes through it."""
    count = processes()
    if count == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / count


def highest_over_processes(values: Sequence[float], device: torch.device | str) -> list[float]:
    """Element by element, the largest value that any process has; the exchange happens on `device`."""
    if processes() == 1:
        return list(values)
    highest = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(highest, dist.ReduceOp.MAX)
    return highest.tolist()
