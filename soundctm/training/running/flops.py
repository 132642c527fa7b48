"""How much of the device's arithmetic a training uses: model FLOP/s as a share of the peak (MFU).

Matrix products and convolutions of a step are counted by torch, forward and backward, on the first steps. The work of a
distillation step grows in a straight line with its number of solver steps, so two counted steps of different numbers
tell that of all; other trainings do the same work in every step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

# Dense peak in TFLOP/s by part of the device's name: (bf16 and fp16, TF32 or float32 as training runs it).
PEAKS = {
    "H200": (989.0, 495.0),
    "H100 PCIe": (756.0, 378.0),
    "H100": (989.0, 495.0),
    "A100": (312.0, 156.0),
    "L40S": (362.0, 183.0),
    "RTX 4090": (165.0, 82.6),
    "RTX 3090": (71.0, 35.6),
    "V100": (125.0, 15.7),
}


def device_peak(device: torch.device, mixed_precision: str) -> float | None:
    """FLOP/s that the device can do at most in the run's precision, or None where that is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    peak = next((peaks for part, peaks in PEAKS.items() if part in name), None)
    return None if peak is None else 1e12 * peak[0 if mixed_precision in ("bf16", "fp16") else 1]


class FlopMeter:
    """Counts the FLOP of steps until it can tell those of any; does nothing without a known peak."""

    def __init__(self, peak: float | None) -> None:
        self.peak = peak
        self._counted: dict[int, float] = {}  # FLOP by work

    def counting(self, work: int = 0) -> contextlib.AbstractContextManager:
        """Around a step; `work` is its number of solver steps, 0 in trainings without a solver."""
        if self.peak is None or work in self._counted or len(self._counted) == 2:
            return contextlib.nullcontext()
        return self._count(work)

    def flops(self, work: int = 0) -> float | None:
        """FLOP of a step, or None while that is not known."""
        if work in self._counted or len(self._counted) < 2:
            return self._counted.get(work)
        (a, flops_a), (b, flops_b) = self._counted.items()
        return flops_a + (flops_b - flops_a) * (work - a) / (b - a)

    @contextlib.contextmanager
    def _count(self, work: int) -> Iterator[None]:
        # compiled networks run as they are for once: the counter sees nothing inside of compiled code
        with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
            yield
        self._counted[work] = float(counter.get_total_flops())
