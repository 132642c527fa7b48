"""No seam changes faster than the clip itself, and nothing but the crossfades changes."""

import math

import pytest
import torch
from helpers import close

from soundctm.editing import Region
from soundctm.editing.regions import FADE, merged, sample_mask
from soundctm.editing.seams import INNER, flux, join, usual_flux

RATE = 16_000
TIME = torch.arange(2 * RATE) / RATE


def tone(hz: float, level: float = 0.3) -> torch.Tensor:
    return level * torch.sin(2 * math.pi * hz * TIME)


def at_seams(sound: torch.Tensor, region: Region) -> float:
    changes = flux(sound, RATE)
    middles = (torch.arange(len(changes)) + 0.5) / 100
    near = [(middles - edge).abs() <= FADE + 0.005 for edge in (region.start, region.end)]
    return float(changes[near[0] | near[1]].max())


def test_flux_is_where_a_sound_begins_and_nowhere_else():
    sound = torch.where(TIME < 1.0, 0.0, tone(440))
    changes = flux(sound, RATE)
    assert len(changes) == 200 and abs(int(changes.argmax()) - 99) <= 3
    assert changes[:95].max() == 0 and changes[110:190].max() < 0.02 * changes.max()


@pytest.mark.parametrize("new", [tone(900), tone(900, 0.02), 0.0 * TIME], ids=["as loud", "softer", "silence"])
def test_seams_stay_below_what_the_clip_does_itself(new):
    """A tone that trembles: cut hard, the other tone is heard to begin; joined, it is not."""
    clip = tone(440) * (1 + 0.5 * torch.sin(2 * math.pi * 3 * TIME))
    limit, region = usual_flux(clip, RATE), Region(0.7, 1.5)
    hard = torch.where(sample_mask([region], len(clip), RATE) > 0.5, new, clip)
    joined = join(clip, new[None], [region], RATE, FADE, limit)[0]
    assert at_seams(hard, region) > limit
    assert at_seams(joined, region) <= limit * 1.001
    outside = (TIME < region.start - FADE - 1e-6) | (TIME > region.end + FADE + 1e-6)
    assert torch.equal(joined[outside], clip[outside])
    middle = (TIME > region.start + INNER[-1]) & (TIME < region.end - INNER[-1])
    close(joined[middle], new[middle], 1e-6)


def test_a_seam_that_is_not_heard_stays_short():
    clip, new = 0.1 * torch.randn(2, len(TIME), generator=torch.Generator().manual_seed(0))
    region = Region(0.7, 1.5)
    joined = join(clip, new[None], [region], RATE, FADE, 10 * usual_flux(clip, RATE))[0]
    inside = (TIME >= region.start) & (TIME <= region.end)
    close(joined[inside], new[inside], 1e-6)


def test_short_regions_are_not_eaten_up_and_neighbours_are_one():
    region = Region(0.7, 0.74)
    joined = join(tone(440), 0 * TIME[None], [region], RATE, FADE, 0.0)[0]
    assert joined[round(0.72 * RATE)] == 0
    parts = merged([Region(1.0, 1.2), Region(0.2, 0.6), Region(0.5, 0.8), Region(1.2, 1.3)])
    assert parts == [Region(0.2, 0.8), Region(1.0, 1.3)]


def test_the_clips_own_ends_are_no_seams():
    joined = join(tone(440), tone(900)[None], [Region(0.0, 0.5), Region(1.6, 2.0)], RATE, FADE, 0.0)[0]
    close(joined[:100], tone(900)[:100], 1e-6)
    close(joined[-100:], tone(900)[-100:], 1e-6)
