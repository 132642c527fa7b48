"""Parts of a clip in time: reading and checking them, and masks over latent frames and samples.

A region is what is to be made anew. Its samples, and `fade` seconds on either side in which old and new cross, are the
only ones that change: everything else stays as it is, bit by bit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from soundctm.errors import UserError

FADE = 0.02  # seconds in which old and new sound cross, on either side of a region
SOFT = 0.04  # seconds in which the latents' mask falls to zero, on either side of a region


@dataclass(frozen=True)
class Region:
    """From `start` to `end` in seconds."""

    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.start:g}-{self.end:g}"


def parse_regions(text: str) -> tuple[Region, ...]:
    """ "1.2-1.6, 2-2.4" -> two regions; "" -> none. Raises UserError for anything else."""
    regions = []
    for part in filter(None, (part.strip() for part in text.replace(";", ",").split(","))):
        found = re.fullmatch(r"(\d*\.?\d+)\s*[-:]\s*(\d*\.?\d+)", part)
        if not found:
            raise UserError(f"{part!r} is no region; give START-END in seconds, for example 1.2-1.6")
        regions.append(Region(float(found[1]), float(found[2])))
    return tuple(regions)


def check_regions(regions: Sequence[Region], seconds: float, what: str = "the clip") -> None:
    """Raises UserError for a region that is empty, turned round or not inside a clip of `seconds`."""
    for region in regions:
        if not (math.isfinite(region.start) and math.isfinite(region.end)):
            raise UserError(f"the region {region} is not made of finite numbers")
        if region.start >= region.end:
            raise UserError(f"the region {region} ends before it starts; give START-END in seconds")
        if region.start < 0 or region.end > seconds + 1e-6:
            raise UserError(f"the region {region} s is outside of {what}, which has {seconds:g} s")


def frame_mask(regions: Sequence[Region], frames: int, frame_seconds: float, soft: float = SOFT) -> torch.Tensor:
    """[frames] in [0, 1]: 1 on latent frames that a region touches, falling to 0 over `soft` seconds around it."""
    starts = torch.arange(frames, dtype=torch.float64) * frame_seconds
    mask = torch.zeros(frames, dtype=torch.float64)
    for region in regions:
        # seconds between the frame and the region, 0 where they touch
        away = torch.maximum(region.start - (starts + frame_seconds), starts - region.end).clamp_min(0)
        mask = torch.maximum(mask, _ramp(1 - away / max(soft, 1e-9)))
    return mask.float()


def merged(regions: Sequence[Region]) -> list[Region]:
    """The same seconds as regions that neither touch nor overlap, in order."""
    parts: list[Region] = []
    for region in sorted(regions, key=lambda region: region.start):
        if parts and region.start <= parts[-1].end:
            parts[-1] = Region(parts[-1].start, max(parts[-1].end, region.end))
        else:
            parts.append(region)
    return parts


def sample_mask(
    regions: Sequence[Region], samples: int, rate: int, fade: float = FADE,
    inner: Sequence[tuple[float, float]] | None = None,
) -> torch.Tensor:  # fmt: skip
    """[samples] in [0, 1]: 1 inside regions, exactly 0 farther than `fade` seconds from them, half a cosine between.

    `inner` gives for every region how many seconds more the crossfades at its start and its end go on inside of it.
    """
    times = torch.arange(samples, dtype=torch.float64) / rate
    mask = torch.zeros(samples, dtype=torch.float64)
    for region, (first, last) in zip(regions, inner or [(0.0, 0.0)] * len(regions), strict=True):
        rise = (times - region.start + fade) / max(fade + first, 1e-9)
        fall = (region.end + fade - times) / max(fade + last, 1e-9)
        mask = torch.maximum(mask, _ramp(torch.minimum(rise, fall)))
    return mask.float()


def paste(kept: torch.Tensor, made: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`made` where `mask` is 1, `kept` where it is 0 (the same bits), crossfaded between; all [..., samples]."""
    return torch.where(mask > 0, kept + mask * (made - kept), kept)


def _ramp(fraction: torch.Tensor) -> torch.Tensor:
    return 0.5 - 0.5 * torch.cos(torch.pi * fraction.clamp(0, 1))
