"""What the benchmark of a training step measures beside time: calls of networks, backward passes, memory."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn


class Counts:
    """How often a network is called and with how many samples, and how many backward passes reach its first layer."""

    def __init__(self) -> None:
        self.calls = self.samples = self.backwards = 0

    def __str__(self) -> str:
        back = f", {self.backwards} backward" if self.backwards else ""
        return f"{self.calls} calls of {self.samples} samples{back}"

    @contextlib.contextmanager
    def of(self, first: nn.Module) -> Iterator[Counts]:
        """Count calls of `first`, the layer of a network that its input reaches first."""

        def called(_: nn.Module, inputs: object, output: torch.Tensor) -> None:
            self.calls += 1
            self.samples += len(output)
            if output.requires_grad:
                output.register_hook(self._came_back)

        hook = first.register_forward_hook(called)
        try:
            yield self
        finally:
            hook.remove()

    def _came_back(self, _: torch.Tensor) -> None:
        self.backwards += 1


class PeakMemory:
    """Highest memory above the start within a `with` block: `bytes`, or None where it cannot be told.

    On a GPU that of the tensors; on a CPU resident memory, whose mark Linux lets a process reset.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.bytes = device, None

    def __enter__(self) -> PeakMemory:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            self.start = torch.cuda.memory_allocated(self.device)
        elif (marks := Path("/proc/self/clear_refs")).exists():
            # what earlier steps left with the allocator would hide what this one takes
            if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
                trim(0)
            marks.write_text("5")
            self.start = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self.start
        elif hasattr(self, "start"):
            self.bytes = _status("VmHWM") - self.start


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024
