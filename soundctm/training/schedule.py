"""Learning rate and length of a training, by steps or by wall time."""

from __future__ import annotations

import math
import time


class Schedule:
    """Linear warm-up, then a cosine to zero at `steps` or after `max_minutes` (0: no limit), whichever comes first.

    A limit in minutes makes the last learning rates depend on the machine's speed; without one they are exact.
    `spent` is the time in seconds that a resumed run had used before.
    """

    def __init__(self, steps: int, peak: float, warmup: int, max_minutes: float = 0.0, spent: float = 0.0) -> None:
        self.steps, self.peak, self.warmup = steps, peak, warmup
        self.max_seconds = 60.0 * max_minutes
        self.started = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds used, over all resumed parts."""
        return time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """0 at the start, 1 or more at the end."""
        by_time = self.spent / self.max_seconds if self.max_seconds > 0 else 0.0
        return max(step / self.steps, by_time)

    def learning_rate(self, step: int) -> float:
        """Learning rate of step number `step`."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress(step))))
        return self.peak * cosine * min(1.0, (step + 1) / max(1, self.warmup))
