"""How far a sound is from what was asked for: a measure, a target curve, and the mean squared difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from soundctm.control.measures import Measure
from soundctm.control.sound import Sound
from soundctm.control.targets import Curve
from soundctm.errors import UserError

Loss = Callable[[torch.Tensor], torch.Tensor]  # clean latents [B, ...] -> [B]


@dataclass(frozen=True)
class Objective:
    """A measure that shall follow a target: a Curve, or values [K] for a measure that gives K of them."""

    measure: Measure
    target: Curve | torch.Tensor

    def loss(self, codec: Any) -> Loss:
        """The error of the sounds that `codec` would decode latents to, from its mel where it has one; [B]."""
        return lambda latents: self.error(Sound.of_latents(codec, latents))

    def error(self, sound: Sound) -> torch.Tensor:
        """Mean over frames of the squared difference, in squared units of the measure, [B].

        Raises UserError for values that are not as many as the measure's.
        """
        curve = self.measure(sound)
        return (curve - self.values(curve.shape[1]).to(curve)).square().mean(1)

    def error_of_waveform(self, waveform: torch.Tensor, rate: int) -> torch.Tensor:
        """`error` of waveforms [B, samples] at `rate` Hz: what counts in the end."""
        return self.error(Sound.of_waveform(waveform, rate))

    def values(self, count: int) -> torch.Tensor:
        """The target at `count` frames."""
        if isinstance(self.target, Curve):
            return self.target.at_frames(count)
        if self.target.ndim != 1 or len(self.target) != count:
            raise UserError(f"the target has {tuple(self.target.shape)} values, the measure gives {count}")
        return self.target
