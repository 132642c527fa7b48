"""What happens after each step of a sampler: a progress bar moves, a callback sees the state, changes it, or stops.

The callback is diffusers': callback(pipeline, step, level, {"latents": z}) returns None or a dictionary whose "latents"
take the place of the state; `pipeline._interrupt = True` in it ends the sampling with the state as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

OnStep = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]  # (k, level it came from, state) -> the next state
Callback = Callable[[Any, int, torch.Tensor, dict[str, torch.Tensor]], dict[str, torch.Tensor] | None]
TENSORS = ("latents",)  # that a callback may ask for


class Interrupted(Exception):
    """A callback has ended the sampling; `latents` are the state as it was."""

    def __init__(self, latents: torch.Tensor) -> None:
        super().__init__("sampling was interrupted by a callback")
        self.latents = latents


def reporter(
    pipeline: Any, tick: Callable[[], Any], callback: Callback | None, tensors: Sequence[str] = TENSORS
) -> OnStep:
    """What a sampler is to call after every step. Raises Interrupted when the callback says so."""

    def on_step(step: int, level: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        tick()
        if callback is None:
            return latents
        found = {"latents": latents} if "latents" in tensors else {}
        changed = callback(pipeline, step, level, found) or {}
        latents = changed.get("latents", latents)
        if pipeline.interrupt:
            raise Interrupted(latents)
        return latents

    return on_step
