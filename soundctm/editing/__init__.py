"""Editing: vary, inpaint, extend, loop, bands, blend, and clips longer than the network was trained for.

out = pipe.inpaint("rain", "clip.wav", [Region(1.2, 1.6)])
out = pipe("rain", blend=Blend("wind", share=(0.0, 1.0)))
"""

from soundctm.editing.bands import Band, parse_bands
from soundctm.editing.regions import Region, parse_regions
from soundctm.editing.sampling import Blend

__all__ = ["Band", "Blend", "Region", "parse_bands", "parse_regions"]
