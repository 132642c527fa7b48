"""The bodies of requests as OpenAPI has them. What they mean together, and their limits, is said in `wanted`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from soundctm.defaults import SAMPLERS

MOST_SEED = 2**53 - 1  # whole numbers that every reader of JSON keeps
Bits = Literal[16, 24, 32]


class Strict(BaseModel):
    """Unknown keys are errors, and so are "3" for 3, NaN and infinities."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class BlendBody(Strict):
    """A second caption, a second seed, or both, mixed in."""

    prompt: str | None = None
    seed: int | None = Field(None, ge=0, le=MOST_SEED)
    share: tuple[float, float] | float = Field(0.5, description="share of the second: one number, or start and end")


class ControlBody(Strict):
    """A curve that a measure of the sound shall follow."""

    measure: Literal["intensity", "centroid", "onsets"] = "intensity"
    points: list[tuple[float, float]] = Field(
        min_length=1, max_length=1000, description="[second, value], rising in time; intensity is in dB"
    )
    method: Literal["mean", "network", "noise"] = "mean"


class Sampling(Strict):
    """What every request may say. What is left out is the model's own default."""

    prompt: str = Field(description="what shall be heard")
    negative_prompt: str | None = Field(None, description="what to stay away from; needs nu above 1")
    seed: int | None = Field(None, ge=0, le=MOST_SEED, description="of the first clip; left out, it is drawn")
    steps: int | None = Field(None, ge=1, description="network calls")
    omega: float | Literal["none"] | None = Field(None, description="guidance of the trajectory")
    nu: float | None = Field(None, description="second guidance; 1 is none")
    gamma: float | None = Field(None, ge=0, le=1, description="noise of gamma_multistep")
    sampler: Literal[SAMPLERS] | None = None  # type: ignore[valid-type]
    variants: int = Field(1, ge=1, description="clips, each of its own seed")
    format: Literal["wav", "flac"] = "wav"
    bits: Bits = Field(16, description="of a sample; 32 is floating point, of a wav")
    wait: bool = Field(True, description="answer with the sound; false answers at once, with the job")


class GenerateBody(Sampling):
    """A new sound."""

    seconds: float | None = Field(None, gt=0, description="length of the clip")
    loop: bool = Field(False, description="the end runs into the beginning")
    blend: BlendBody | None = None
    control: ControlBody | None = None


class ClipOf(Strict):
    """A clip that the service still keeps."""

    job: str
    clip: int = Field(0, ge=0)


class EditBody(Sampling):
    """An existing sound, and what shall become of it."""

    prompt: str | None = Field(None, description="what shall be heard; refine takes its job's own")  # type: ignore[assignment]
    operation: Literal["vary", "inpaint", "extend", "loop", "bands", "refine"]
    audio: str | None = Field(None, description="the sound file as base64, where the body is JSON")
    of: ClipOf | None = Field(None, description="instead of audio: a clip of an earlier job; refine needs it")
    strength: float | None = Field(None, ge=0, le=1, description="0 is the clip, 1 is all new; of vary, inpaint, bands")
    regions: list[tuple[float, float]] | None = Field(None, max_length=100, description="[start, end] in s; of inpaint")
    seconds: float | None = Field(None, gt=0, description="to make in addition; of extend")
    side: Literal["after", "before"] = Field("after", description="of the clip; of extend")
    bands: list[tuple[float, float]] | None = Field(None, max_length=100, description="[low, high] in Hz; of bands")
    seam: float = Field(0.5, gt=0, description="seconds around the join that are made anew; of loop")
    repaint: int = Field(0, ge=0, le=20, description="do every step so many times; of inpaint, extend, loop")


GENERATE_EXAMPLES = {
    "sound": {"summary": "a sound, straight away", "value": {"prompt": "a dog barking", "seed": 7}},
    "drafts": {
        "summary": "three drafts as a job",
        "value": {"prompt": "rain on a roof", "steps": 1, "variants": 3, "seconds": 2.0, "wait": False},
    },
    "flac": {"summary": "24 bits", "value": {"prompt": "wind", "seed": 3, "format": "flac", "bits": 24}},
    "control": {
        "summary": "loudness along a curve",
        "value": {"prompt": "rain", "control": {"measure": "intensity", "points": [[0, -50], [2.5, -20]]}},
    },
}
EDIT_EXAMPLES = {
    "inpaint": {
        "summary": "a part made anew",
        "value": {"operation": "inpaint", "prompt": "a dog barking", "regions": [[1.0, 1.6]], "seed": 7},
    },
    "vary": {"summary": "another take", "value": {"operation": "vary", "prompt": "rain", "strength": 0.3}},
    "refine": {
        "summary": "a draft at more steps",
        "value": {"operation": "refine", "of": {"job": "JOB", "clip": 0}, "steps": 4, "wait": False},
    },
}
