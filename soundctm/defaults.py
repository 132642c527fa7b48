"""How a model is sampled when nothing else is asked for: the one table of defaults.

A checkpoint's index (soundctm.checkpoints.layout) holds its own `Defaults` under "sampling"; command line, pipeline and
the measuring tools take theirs from there. `settle` joins them with what a caller gave. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from soundctm.errors import UserError, quoted

SAMPLERS = ("deterministic", "cm_multistep", "gamma_multistep", "onestep")
HEUN = "heun"  # the teacher's
NO_OMEGA = "none"  # how a caller says that omega is to be left out; None means the model's default
MOST_STEPS, MOST_SECONDS, MOST_RATE = 10_000, 3600.0, 1_000_000
LARGEST = 1e30  # far below what float32 holds
SEED = 5031  # the official script's

Omega = float | str | None


class SamplingWarning(UserWarning):
    """A value that has no effect, or that the model was not trained on."""


@dataclass(frozen=True)
class Defaults:
    """Of one model. Without a checkpoint that says otherwise they are the values of the official script."""

    steps: int = 1  # network calls of the student
    sampler: str = "deterministic"  # of the student
    omega: float | None = 3.5  # None: the student has no such input
    nu: float = 1.0
    gamma: float = 0.9
    omega_range: tuple[float, float] | None = None  # that the student was trained on, where it is known
    teacher_steps: int = 40  # Heun levels
    seconds: float | None = None  # of a clip, where the index says it
    sampling_rate: int | None = None  # Hz, likewise

    def __post_init__(self) -> None:
        """Raises UserError for values that cannot be sampled with."""
        settle(self, "ema", sampler=self.sampler, nu=self.nu, gamma=self.gamma)
        settle(self, "teacher")
        if self.omega_range is not None and not (
            len(self.omega_range) == 2 and _finite(*self.omega_range) and self.omega_range[0] <= self.omega_range[1]
        ):
            raise UserError(f"omega_range is {self.omega_range}; it must be the lowest and the highest omega")
        if self.seconds is not None and not (_finite(self.seconds) and 0 < self.seconds <= MOST_SECONDS):
            raise UserError(f"seconds is {self.seconds}; it must be above 0, and at most {MOST_SECONDS:g}")
        if self.sampling_rate is not None and not 1 <= self.sampling_rate <= MOST_RATE:
            raise UserError(f"sampling_rate is {self.sampling_rate}; it must be a number of Hz from 1 to {MOST_RATE}")

    @classmethod
    def of_index(cls, values: object, where: object) -> Defaults:
        """The table "sampling" of an index, which `where` names; what it lacks is official. Raises UserError."""
        if not isinstance(values, Mapping | None):
            raise UserError(f"{where}: `sampling` must be a table of defaults, not {quoted(values)}")
        kinds = {field.name: _KINDS[field.name] for field in dataclasses.fields(cls)}
        unknown = sorted(set(values or {}) - set(kinds))
        if unknown:
            raise UserError(f"{where}: `sampling` has no {quoted(unknown[0])}; it knows {', '.join(kinds)}")
        try:
            return cls(**{name: kinds[name](value) for name, value in (values or {}).items()})
        except UserError as error:
            raise UserError(f"{where}: `sampling`: {error}") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{where}: `sampling` cannot be used: {quoted(values)}") from error

    def trained_with(self, options: Mapping[str, Any] | None) -> Defaults:
        """These, with the range of omega that a training's options (`w_min`, `w_max`) say, unless it is known."""
        low, high = (options or {}).get("w_min"), (options or {}).get("w_max")
        if self.omega_range is not None or not _finite(low, high) or low > high:
            return self
        omega = None if self.omega is None else min(max(self.omega, low), high)
        return dataclasses.replace(self, omega_range=(float(low), float(high)), omega=omega)

    def to_json(self) -> dict[str, Any]:
        """For an index."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}


@dataclass(frozen=True)
class Settings:
    """What decides how noise becomes a clip. None where a value has no effect."""

    sampler: str  # "heun" for the teacher
    steps: int  # network calls of the student; levels of the teacher's grid
    omega: float | None  # input of the student, guidance scale of the teacher
    nu: float | None
    gamma: float | None


def settle(
    defaults: Defaults,
    weights: str,
    *,
    steps: int | None = None,
    sampler: str | None = None,
    omega: Omega = None,
    nu: float | None = None,
    gamma: float | None = None,
) -> tuple[Settings, list[str]]:
    """What was given, joined with a model's defaults, and a sentence for each value to be wary of: those without
    effect, and an omega that the student was not trained on.

    `weights` is "ema", "student" or "teacher". Raises UserError for a value outside its range.
    """
    teacher = weights == "teacher"
    if sampler is not None and sampler not in SAMPLERS and not (teacher and sampler == HEUN):
        raise UserError(f"no sampler {sampler!r}; they are {', '.join(SAMPLERS)}")
    chosen = HEUN if teacher else sampler or defaults.sampler
    count = steps if steps is not None else defaults.teacher_steps if teacher else defaults.steps
    lowest = 2 if teacher else 1
    if count < lowest:
        raise UserError(f"{count} steps cannot be sampled; the {weights} weights need at least {lowest}")
    if count > MOST_STEPS:
        raise UserError(f"{count} steps are too many; up to {MOST_STEPS} are made")
    scale = defaults.omega if omega is None else None if omega == NO_OMEGA else omega
    if not _finite(*(v for v in (scale, nu) if v is not None)):
        raise UserError(f"omega is {scale} and nu {nu}; they must be finite numbers")
    if gamma is not None and not 0.0 <= gamma <= 1.0:
        raise UserError(f"gamma is {gamma}; it lies between 0 (no noise) and 1 (noise at every step)")

    remarks = []
    if teacher:
        without = {"sampler": sampler if sampler != HEUN else None, "nu": nu, "gamma": gamma}
        remarks += [f"{n} {v:g} has no effect: it is the student's" for n, v in without.items() if _number(v)]
        if without["sampler"]:
            remarks.append(f"sampler {sampler} has no effect: the teacher is always sampled by Heun's method")
        return Settings(chosen, count, 1.0 if scale is None else scale, None, None), remarks
    if chosen == "onestep" and count != 1:
        if steps is not None:
            remarks.append(f"{steps} steps have no effect: the sampler onestep takes one")
        count = 1
    if chosen != "gamma_multistep" and gamma is not None:
        remarks.append(f"gamma {gamma:g} has no effect: it is gamma_multistep's, and the sampler is {chosen}")
    low, high = defaults.omega_range or (-math.inf, math.inf)
    if scale is not None and not low <= scale <= high:
        remarks.append(f"omega {scale:g} is outside {low:g} to {high:g}, the range that this model was trained on")
    used = defaults.gamma if gamma is None else gamma
    return Settings(
        chosen, count, scale, defaults.nu if nu is None else nu, used if chosen == "gamma_multistep" else None
    ), remarks


def _finite(*values: object) -> bool:
    """Whether all are numbers that tensors can hold."""
    return all(_number(v) and abs(v) <= LARGEST for v in values)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> int:
    if not _number(value) or value != int(value):
        raise TypeError(f"{value!r} is no whole number")
    return int(value)


def _real(value: object) -> float:
    if not _number(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _or_none(kind):
    return lambda value: None if value is None else kind(value)


_KINDS = {
    "steps": _whole,
    "sampler": _text,
    "omega": _or_none(_real),
    "nu": _real,
    "gamma": _real,
    "omega_range": _or_none(lambda pair: tuple(_real(v) for v in pair)),
    "teacher_steps": _whole,
    "seconds": _or_none(_real),
    "sampling_rate": _or_none(_whole),
}


OFFICIAL_DIT = Defaults(omega=5.0, seconds=10.031, sampling_rate=44_100)  # of the official SoundCTM-DiT
