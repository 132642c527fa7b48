"""What a caller asks for: an objective, the method that reaches for it, and how hard."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from soundctm.control.guidance import OnStep
from soundctm.control.objective import Objective
from soundctm.errors import UserError

NOISE, NETWORK, MEAN = METHODS = ("noise", "network", "mean")
ITERATIONS = {NOISE: 70, NETWORK: 5, MEAN: 10}  # noise: once; the others: at every guided step
CANDIDATES = 16  # with the small model they halve the error at little cost
STRENGTH = {NOISE: 0.1, NETWORK: 0.1, MEAN: 0.3}  # noise: Adam's step; the others: a step's limit, as a share
MOST_ITERATIONS, MOST_CANDIDATES = 10_000, 1000


@dataclass(frozen=True)
class Control:
    """A sound that follows `objective`.

    method: "noise" finds an initial noise at one step, then samples; "network" moves z_t by the gradient through the
    network; "mean" moves the clean estimate by its own gradient. iterations and strength: None is the method's own.
    window: the guided steps, those that start between two shares of the way from sigma_max (0) to sigma_min (1); has no
    meaning for "noise". threshold: an error, in squared units of the measure, at which a clip is left alone.
    candidates: initial noises that are tried at one step before, of which the nearest is taken; 0 iterations leave it
    at that.
    on_step(k, errors [B]) is called at every iteration of "noise". Raises UserError for values outside their ranges.
    """

    objective: Objective
    method: str = NOISE
    iterations: int | None = None
    strength: float | None = None
    window: tuple[float, float] = (0.0, 1.0)
    threshold: float = 1.0
    candidates: int = CANDIDATES
    on_step: OnStep | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"no control method {self.method!r}; they are {', '.join(METHODS)}")
        if not 1 <= self.candidates <= MOST_CANDIDATES:
            raise UserError(f"{self.candidates} control candidates; 1 to {MOST_CANDIDATES} are possible")
        if self.iterations is not None and self.iterations < (1 if self.candidates == 1 else 0):
            raise UserError(f"{self.iterations} control iterations; at least 1 is needed, or several candidates")
        if self.iterations is not None and self.iterations > MOST_ITERATIONS:
            raise UserError(f"{self.iterations} control iterations; up to {MOST_ITERATIONS} are possible")
        if self.strength is not None and not (math.isfinite(self.strength) and self.strength > 0):
            raise UserError(f"the control strength is {self.strength}; it must be above 0")
        first, last = self.window
        if not 0 <= first < last <= 1:
            raise UserError(f"the control window is {first:g}:{last:g}; it must rise within 0 to 1")
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise UserError(f"the control threshold is {self.threshold}; it must be 0 or more")

    @property
    def count(self) -> int:
        return ITERATIONS[self.method] if self.iterations is None else self.iterations

    @property
    def step(self) -> float:
        return STRENGTH[self.method] if self.strength is None else self.strength

    def active(self, fraction: Callable[[float], float]) -> Callable[[torch.Tensor], bool]:
        """Whether a step from level t is guided; `fraction` gives a level's share of the way down."""
        first, last = self.window
        return lambda t: first - 1e-6 <= fraction(float(t.flatten()[0])) <= last + 1e-6
