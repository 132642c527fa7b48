"""What can be done to a clip: vary, inpaint, extend, make it a loop, make bands of it anew.

Each is a method of `SoundCTMPipeline` and takes a pipeline first. `audio` is a file, or samples at `rate` Hz; what
comes out is one clip per prompt and seed at the codec's rate. Further options are those of the pipeline's call
(`num_inference_steps`, `sampler`, `omega`, `nu`, `gamma`, `seed`, `negative_prompt`, `control`, ...).

All but `vary` paste what was kept back into the waveform, because a codec does not give back what it was given: outside
of the regions and the crossfades around them the samples are those of the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from soundctm.editing.bands import Band, latent_band_mask, paste_bands
from soundctm.editing.clip import Audio, check_length, encode, frames_of, read_init
from soundctm.editing.regions import FADE, SOFT, Region, check_regions, frame_mask
from soundctm.editing.sampling import Known
from soundctm.editing.seams import INNER, join, usual_flux
from soundctm.errors import UserError
from soundctm.steering import along_time

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMOutput, SoundCTMPipeline

Prompts = str | Sequence[str]
MOST_REPEATS = 1000  # of a step, as RePaint repeats it


def vary(
    pipe: SoundCTMPipeline, prompts: Prompts, audio: Audio, rate: int | None = None, *, strength: float = 0.5,
    **options: Any,
) -> SoundCTMOutput:  # fmt: skip
    """The clip again, as the prompt says: another take of it, or with another caption its style transferred.

    `strength` names the noise level that it starts from, as a share of the way up the grid: 1 is generation from noise,
    which ignores the clip, 0 is the codec's round trip. Raises UserError for a strength outside of [0, 1].
    """
    check_strength(strength)
    waveform = read_init(audio, rate, pipe.codec.sampling_rate)
    known = Known(encode(pipe.codec, waveform, frames_of(pipe.codec, len(waveform))), strength=strength)
    return pipe.edit(prompts, known, len(waveform), **options)


def inpaint(
    pipe: SoundCTMPipeline, prompts: Prompts, audio: Audio, regions: Sequence[Region | tuple[float, float]],
    rate: int | None = None, *, strength: float = 1.0, repeats: int = 0, soft: float = SOFT, fade: float = FADE,
    **options: Any,
) -> SoundCTMOutput:  # fmt: skip
    """The clip with `regions` (seconds) made anew, to fit what is around them.

    `strength` below 1 lets the regions keep something of what was there. `repeats` above 0 takes RePaint's form, every
    step that many times. `soft`, `fade`: seconds around a region over which latents and samples go from old to new; the
    latter go on inside of it where the seam would be heard (`soundctm.editing.seams`). No regions give the
    input. Raises UserError for regions outside of the clip.
    """
    check_strength(strength)
    regions = as_regions(regions)
    waveform = read_init(audio, rate, pipe.codec.sampling_rate)
    check_regions(regions, len(waveform) / pipe.codec.sampling_rate)
    return _inpainted(pipe, prompts, waveform, waveform, regions, strength, repeats, soft, fade, options)


def extend(
    pipe: SoundCTMPipeline, prompts: Prompts, audio: Audio, rate: int | None = None, *, after: float = 0.0,
    before: float = 0.0, repeats: int = 0, fade: float = FADE, **options: Any,
) -> SoundCTMOutput:  # fmt: skip
    """The clip with `before` seconds made in front of it and `after` behind it; 0 and 0 give the input.

    Of the clip only the last (first) `fade` seconds next to what is new change. Raises UserError for negative lengths
    and for results over the limit.
    """
    check_extension(before, after)
    own = pipe.codec.sampling_rate
    waveform = read_init(audio, rate, own)
    check_length(len(waveform) / own + before + after, "the extension")
    left, right = round(before * own), round(after * own)
    # silence stands in for what is not there yet; where the clip ends loudly, a mirror image of it goes on under the
    # crossfade, or there would be a hole
    canvas = torch.nn.functional.pad(waveform, (left, right))
    seconds = len(canvas) / own
    image = min(round(INNER[-1] * own), len(waveform) - 1)
    mirrored = torch.nn.functional.pad(waveform[None], (min(left, image), min(right, image)), mode="reflect")[0]
    mirrored = torch.nn.functional.pad(mirrored, (left - min(left, image), right - min(right, image)))
    regions = []
    if left:
        regions.append(Region(0.0, left / own))
    if right:
        regions.append(Region(seconds - right / own, seconds))
    return _inpainted(pipe, prompts, mirrored, canvas, regions, 1.0, repeats, 0.0, fade, options, waveform)


def make_loop(
    pipe: SoundCTMPipeline, prompts: Prompts, audio: Audio, rate: int | None = None, *, seam: float = 0.5,
    repeats: int = 0, fade: float = FADE, **options: Any,
) -> SoundCTMOutput:  # fmt: skip
    """The clip with its first and last `seam` / 2 seconds made anew so that its end runs into its beginning.

    The clip is turned round by half its length, the seam, now in the middle, is inpainted, and it is turned back.
    Raises UserError for a seam that is not shorter than the clip.
    """
    own = pipe.codec.sampling_rate
    waveform = read_init(audio, rate, own)
    seconds, half = len(waveform) / own, len(waveform) // 2
    if not 0 < seam < seconds:
        raise UserError(f"a seam of {seam:g} s does not fit in a clip of {seconds:g} s")
    turned = waveform.roll(half)
    region = Region(half / own - seam / 2, half / own + seam / 2)
    made = _inpainted(pipe, prompts, turned, turned, [region], 1.0, repeats, SOFT, fade, options)
    made.audios = np.roll(made.audios, -half, axis=1)
    return made


def make_bands(
    pipe: SoundCTMPipeline, prompts: Prompts, audio: Audio, bands: Sequence[Band | tuple[float, float]],
    rate: int | None = None, *, strength: float = 1.0, **options: Any,
) -> SoundCTMOutput:  # fmt: skip
    """The clip with frequency `bands` (Hz) made anew, for example what is missing above 4 kHz in an 8 kHz recording.

    Raises UserError for a codec whose latents have no mel bands, and for bands outside of its range.
    """
    check_strength(strength)
    codec = pipe.codec
    bands = [band if isinstance(band, Band) else Band(*band) for band in bands]
    mask = latent_band_mask(codec, bands)
    waveform = read_init(audio, rate, codec.sampling_rate)
    frames = frames_of(codec, len(waveform))
    known = Known(encode(codec, waveform, frames), mask, strength)
    made = pipe.edit(prompts, known, len(waveform), **options)
    joined = paste_bands(waveform, torch.from_numpy(made.audios), bands, codec.sampling_rate)
    made.audios = joined.numpy()
    return made


def check_strength(strength: float) -> None:
    """Raises UserError outside of [0, 1]."""
    if not (math.isfinite(strength) and 0 <= strength <= 1):
        raise UserError(f"the strength is {strength}; it lies between 0 (the clip) and 1 (all new)")


def check_repeats(repeats: int) -> None:
    """Raises UserError outside of [0, MOST_REPEATS]."""
    if not 0 <= repeats <= MOST_REPEATS:
        raise UserError(f"a step done {repeats} times; it must be 0 (one pass) to {MOST_REPEATS} times")


def check_extension(before: float, after: float) -> None:
    """Raises UserError for negative lengths and for ones over the limit."""
    for name, seconds in (("before", before), ("after", after)):
        if not (math.isfinite(seconds) and seconds >= 0):
            raise UserError(f"the extension {name} the clip is {seconds:g} s; it must be 0 or more")
    check_length(before + after, "the extension")


def as_regions(regions: Sequence[Region | tuple[float, float]]) -> list[Region]:
    """Pairs as regions."""
    return [region if isinstance(region, Region) else Region(*region) for region in regions]


def _inpainted(
    pipe: SoundCTMPipeline, prompts: Prompts, kept: torch.Tensor, heard: torch.Tensor, regions: Sequence[Region],
    strength: float, repeats: int, soft: float, fade: float, options: dict[str, Any], clip: torch.Tensor | None = None,
) -> SoundCTMOutput:  # fmt: skip
    """`kept` [samples] with `regions` made anew, where the network sees `heard`.

    `clip` is the sound whose own changes say what a seam may be, `kept` by default.
    """
    check_repeats(repeats)
    codec = pipe.codec
    frames = frames_of(codec, len(kept))
    latents = encode(codec, heard, frames)
    if not regions:
        return pipe.unchanged(prompts, kept, latents)
    mask = frame_mask(regions, frames, codec.samples_per_latent / codec.sampling_rate, soft)
    known = Known(latents, along_time(mask, latents.ndim), strength, repeats)
    made = pipe.edit(prompts, known, len(kept), **options)
    rate = codec.sampling_rate
    limit = usual_flux(kept if clip is None else clip, rate)
    made.audios = join(kept, torch.from_numpy(made.audios), regions, rate, fade, limit).numpy()
    return made
