"""Joining what is kept and what was made so that no seam is heard.

A crossfade takes `fade` seconds outside of a region. Where the sound then changes faster than the clip itself does, in
all but a hundredth of its frames, the crossfade goes on into the region, as far as it takes: what was there before goes
on for up to 0.16 s more under what is made. Whatever is outside of the crossfade stays, bit by bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from soundctm.editing.regions import Region, merged, paste, sample_mask

FRAME, HOP = 0.064, 0.01  # seconds of a frame of the flux, and between two
INNER = (0.0, 0.02, 0.04, 0.08, 0.16, 0.32)  # seconds that a crossfade may go on inside of a region
MOST = 1 / 3  # of a region, on each side
PIECE = 4096  # frames whose spectra are held at once


def flux(waveform: Tensor, rate: int) -> Tensor:
    """Spectral flux [samples // hop] of [samples]: how much louder the spectrum is, bin by bin, than 10 ms before.

    The root of the sum of squares over the bins of a frame of 64 ms; falls count as 0. Value k is the change between
    the frames around k and k + 1 hops.
    """
    size, hop = 2 * round(rate * FRAME / 2), round(rate * HOP)
    count = len(waveform) // hop
    frames = torch.nn.functional.pad(waveform, (size // 2, size // 2 + hop)).unfold(0, size, hop)[: count + 1]
    window = torch.hann_window(size, dtype=waveform.dtype, device=waveform.device)
    pieces = []
    for start in range(0, count, PIECE):
        spectrum = torch.fft.rfft(frames[start : start + PIECE + 1] * window).abs()
        pieces.append(torch.relu(spectrum.diff(dim=0)).square().sum(1).sqrt())
    return torch.cat(pieces) if pieces else waveform.new_zeros(0)


def usual_flux(waveform: Tensor, rate: int) -> float:
    """The 99th percentile of a sound's own flux."""
    changes = flux(waveform, rate)
    return float(changes.sort().values[round(0.99 * (len(changes) - 1))]) if len(changes) else 0.0


def join(kept: Tensor, made: Tensor, regions: Sequence[Region], rate: int, fade: float, limit: float) -> Tensor:
    """[B, samples]: `made` [B, samples] inside of `regions`, `kept` [samples] elsewhere.

    Every crossfade is the shortest of INNER whose flux stays below `limit` (`usual_flux` of the clip), or below that of
    `kept` where it is greater; where none does, the one with the least.
    """
    parts = merged(regions)
    rows = []
    for row in made:
        inner = [tuple(_inner(kept, row, part, side, rate, fade, limit) for side in (0, 1)) for part in parts]
        rows.append(paste(kept, row, sample_mask(parts, len(kept), rate, fade, inner)))
    return torch.stack(rows)


def _inner(kept: Tensor, made: Tensor, region: Region, side: int, rate: int, fade: float, limit: float) -> float:
    """How far the crossfade at the start (side 0) or end (1) of `region` goes on inside."""
    edge = (region.start, region.end)[side]
    if side == 0 and edge <= 0 or side == 1 and round(edge * rate) >= len(kept):
        return 0.0
    hop = round(rate * HOP)
    reach = fade + INNER[-1] + FRAME
    first, last = (max(0, round((edge + way * reach) * rate)) for way in (-1, 1))
    first = first // hop * hop
    old, new = kept[first:last], made[first:last]
    before = flux(old, rate)
    middles = (torch.arange(len(before), device=before.device) + 0.5) * HOP + first / rate
    inward = (middles - edge) * (1 - 2 * side)
    best, least = 0.0, float("inf")
    for inner in sorted({min(inner, MOST * (region.end - region.start)) for inner in INNER}):
        lengths = [(inner, 0.0) if side == 0 else (0.0, inner)]
        moved = Region(region.start - first / rate, region.end - first / rate)
        changes = flux(paste(old, new, sample_mask([moved], len(old), rate, fade, lengths)), rate)
        # beyond the middle of a long crossfade the changes are those of what was made, which are no seam
        seam = (inward >= -fade - HOP) & (inward <= max(fade, inner / 2) + HOP)
        allowed = before[seam].clamp_min(limit)
        excess = float((changes[seam] - allowed).max()) if bool(seam.any()) else 0.0
        if excess < least:
            best, least = inner, excess
        if excess <= 0:
            break
    return best
