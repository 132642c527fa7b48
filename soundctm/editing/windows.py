"""Longer than the network was trained for: windows that overlap, averaged at every jump (MultiDiffusion).

The windows' places move from one noise level to the next, so that no rhythm of joins stays in the sound. Where a clip
is to be a loop, the last windows go round its end.
"""

from __future__ import annotations

import math

import torch

from soundctm.denoisers import Jump
from soundctm.steering import along_time

OVERLAP = 0.5  # of two neighbouring windows
GOLDEN = (5**0.5 - 1) / 2  # its multiples spread evenly


def window_starts(frames: int, window: int, hop: int, phase: float = 0.0, loop: bool = False) -> list[int]:
    """First frames of windows that cover [0, frames), at most `hop` apart.

    `phase` in [0, 1) moves all but the first and last by that share of their distance; in a loop, all of them.
    """
    if loop:
        count = max(1, math.ceil(frames / hop))
        return [(k * frames // count + int(phase * frames / count)) % frames for k in range(count)]
    last = frames - window
    if last <= 0:
        return [0]
    gaps = math.ceil(last / hop)
    inner = {k * last // gaps + int(phase * last / gaps) for k in range(gaps)}  # whole numbers: never over `hop` apart
    return sorted(inner | {0, last})


def windowed(jump: Jump, window: int, loop: bool = False, overlap: float = OVERLAP) -> Jump:
    """`jump` on latents [B, C, T, ...] of any T, which itself sees `window` frames at a time; T <= window is one call.

    In a loop every T takes windows, which see the clip repeated. The averages weigh a window's middle most.
    """
    hop = max(1, round(window * (1 - overlap)))
    ramp = torch.arange(window, dtype=torch.float64) + 0.5
    weights = torch.minimum(ramp, window - ramp).clamp(max=window - hop) if overlap > 0 else torch.ones(window)

    def windowed_jump(z: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        frames = z.shape[2]
        if frames <= window and not loop:
            return jump(z, t, s)
        # a function of the level alone: the jump must be the same whenever it is asked for
        phase = (float(t.flatten()[0].log()) * 4 * GOLDEN) % 1.0
        total, share = torch.zeros_like(z), torch.zeros(frames, device=z.device, dtype=z.dtype)
        weight = weights.to(z)
        for start in window_starts(frames, window, hop, phase, loop):
            places = (torch.arange(window, device=z.device) + start) % frames
            landed = jump(z.index_select(2, places), t, s)
            total = total.index_add(2, places, landed * along_time(weight, z.ndim))
            share = share.index_add(0, places, weight)
        return total / along_time(share, z.ndim)

    return windowed_jump
