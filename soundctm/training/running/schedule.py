"""Learning rate and length of a training, by steps or by wall time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then a cosine to zero at `steps` or after `max_minutes` (0: no limit), whichever comes first.

    A limit in minutes makes the last learning rates depend on the machine's speed; without one they are exact.
    `shape` "constant" leaves the cosine out.
    """

    steps: int
    warmup: int = 1
    max_minutes: float = 0.0
    shape: str = "cosine"

    def progress(self, step: int, spent: float) -> float:
        """0 at the start, 1 or more at the end; `spent` are the seconds used so far."""
        by_time = spent / (60.0 * self.max_minutes) if self.max_minutes > 0 else 0.0
        return max(step / max(1, self.steps), by_time)

    def factor(self, step: int, spent: float) -> float:
        """Share of the peak learning rate at step number `step`, from 0 to 1."""
        falling = 1.0
        if self.shape == "cosine":
            falling = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress(step, spent))))
        return falling * min(1.0, (step + 1) / max(1, self.warmup))

    def remaining(self, step: int, spent: float, first: int, spent_before: float) -> float:
        """Seconds until the end, at the speed since step `first`, when `spent_before` seconds had been used."""
        per_step = (spent - spent_before) / max(1, step - first)
        by_steps = per_step * (self.steps - step)
        return max(0.0, min(by_steps, 60.0 * self.max_minutes - spent) if self.max_minutes > 0 else by_steps)


class Clock:
    """Seconds spent on a training, over all its resumed parts and agreed between its processes."""

    def __init__(self, before: float = 0.0) -> None:
        self.spent = before
        self._origin = time.monotonic() - before

    def read(self) -> float:
        """What this process measures; `spent` changes only by agreement (see soundctm.training.running.loop)."""
        return time.monotonic() - self._origin
