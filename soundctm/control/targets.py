"""Target curves: what a measure shall be at every moment of a clip.

A curve is given as points (second, value), joined by straight lines and level beyond the first and last; as one of the
named shapes of loudness; or as a CSV file with the columns time,value.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from soundctm.control.sound import HOP_SECONDS
from soundctm.errors import UserError
from soundctm.files.reading import read_rows

LOUD, SOFT = -15.0, -50.0  # dB below full scale, of the named shapes


@dataclass(frozen=True)
class Curve:
    """Points (second, value), rising in time. Raises UserError for no points, two at one time, or other numbers."""

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple((float(t), float(v)) for t, v in self.points))
        if not self.points:
            raise UserError("a curve needs at least one point TIME:VALUE")
        for time, value in self.points:
            if not (math.isfinite(time) and math.isfinite(value) and time >= 0):
                raise UserError(f"the curve's point {time:g}:{value:g} must be a time from 0 on and a finite value")
        for (before, _), (after, _) in pairwise(self.points):
            if after == before:
                raise UserError(f"the curve has two points at {after:g} s; give one")
            if after < before:
                raise UserError(
                    f"the curve's point at {after:g} s comes after the one at {before:g} s; times must rise"
                )

    def __str__(self) -> str:
        return " ".join(f"{time:g}:{value:g}" for time, value in self.points)

    def check(self, seconds: float) -> None:
        """Raises UserError if a point lies behind the end of a clip of `seconds`."""
        last = self.points[-1][0]
        if last > seconds + 1e-6:
            raise UserError(f"the curve goes to {last:g} s, but the clip has {seconds:g} s")

    def at(self, times: torch.Tensor) -> torch.Tensor:
        """Values at `times` [K] in seconds."""
        x, y = torch.tensor(self.points, dtype=torch.float64).T.contiguous()
        if len(x) == 1:
            return y.expand(len(times)).clone()
        times = times.double().clamp(x[0], x[-1])
        left = (torch.searchsorted(x, times, right=True) - 1).clamp(0, len(x) - 2)
        return torch.lerp(y[left], y[left + 1], (times - x[left]) / (x[left + 1] - x[left]))

    def at_frames(self, count: int) -> torch.Tensor:
        """Values at the `count` frames of a measure, every 10 ms."""
        return self.at(torch.arange(count) * HOP_SECONDS)

    @classmethod
    def sampled(cls, values: Sequence[float], seconds: float) -> Curve:
        """Values at equal distances from the start to the end of `seconds`."""
        last = max(1, len(values) - 1)
        return cls(tuple((k * seconds / last, value) for k, value in enumerate(values)))


def shape(name: str, seconds: float, soft: float = SOFT, loud: float = LOUD) -> Curve:
    """A named course of loudness over `seconds`. Raises UserError for an unknown name."""
    if name not in SHAPES:
        raise UserError(f"no curve {name!r}; named ones are {', '.join(SHAPES)}, others are points TIME:VALUE or a CSV")
    return Curve(tuple((part * seconds, soft + height * (loud - soft)) for part, height in SHAPES[name]))


SHAPES: dict[str, tuple[tuple[float, float], ...]] = {  # (share of the clip, share of the way from soft to loud)
    "rise": ((0, 0), (1, 1)),
    "fall": ((0, 1), (1, 0)),
    "swell": ((0, 0), (0.5, 1), (1, 0)),
    "two-hits": ((0, 0), (0.2, 0), (0.25, 1), (0.5, 0), (0.6, 0), (0.65, 1), (0.9, 0)),
}


def onset_times(times: Sequence[float], height: float = 12.0, width: float = 0.05) -> Curve:
    """A target for the measure `onsets`: `height` dB at each time, nothing `width` seconds away from it."""
    points: list[tuple[float, float]] = []
    for time in sorted(times):
        start = max(0.0, time - width)
        if points and start <= points[-1][0]:
            raise UserError(f"the onset at {time:g} s is less than {2 * width:g} s after the one before")
        points += [(start, 0.0)] if start < time else []
        points += [(time, height), (time + width, 0.0)]
    return Curve(tuple(points))


def read_curve(text: str, seconds: float) -> Curve:
    """A curve as the command line gives it: "0:-40 1.2:-20", a shape's name, or a CSV file with columns time,value.

    Raises UserError for what is none of these, and for points outside of a clip of `seconds`.
    """
    if text in SHAPES:
        return shape(text, seconds)
    if text.lower().endswith(".csv"):
        curve = _from_csv(Path(text))
    else:
        curve = Curve(tuple(_point(part) for part in text.replace(",", " ").split()))
    curve.check(seconds)
    return curve


def _point(text: str) -> tuple[float, float]:
    number = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    found = re.fullmatch(f"{number}:{number}", text)
    if not found:
        raise UserError(f"{text!r} is no point of a curve; give TIME:VALUE, one of {', '.join(SHAPES)}, or a CSV file")
    return float(found[1]), float(found[2])


def _from_csv(path: str | os.PathLike) -> Curve:
    _, rows = read_rows(path, ("time", "value"))
    points = []
    for row in rows:
        time, value = (row.cells[name].strip() for name in ("time", "value"))
        try:
            points.append((float(time), float(value)))
        except ValueError:
            raise UserError(f"{path}, line {row.line}: {time[:40]},{value[:40]} is not a time and a value") from None
    return Curve(tuple(points))
