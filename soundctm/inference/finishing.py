"""From what the pipeline made to the clip that was asked for: length, rate, loudness, edges; and is it silent?

A length below the model's own is cut from a clip of the model's own length, beginning at the onset of its sound: the
content is that of the whole clip, and no clip ends before its first bark. (Generating fewer latent frames works, too,
but a model has learned one length; on the small model neither way was better by class.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from soundctm.config import option
from soundctm.errors import UserError

NEARLY_SILENT = 1e-3  # largest |sample| of a clip in which nothing is heard: -60 dBFS
ONSET_DB = 20.0  # below the loudest point, where a sound begins
LEAD = 0.01  # seconds kept before it
FRAME = 0.005  # seconds
BLOCK = 0.4  # seconds over which loudness is measured (ITU-R BS.1770); a shorter clip is one block


@dataclass(frozen=True)
class FinishingOptions:
    """What is done to clips before they are written. In this order."""

    trim_onset: bool = option(False, "leave out what is before the sound begins")
    loudness: float | None = option(
        None, "loudness of every clip in LUFS (ITU-R BS.1770), for example -23; needs soundctm[loudness]", value="LUFS"
    )
    fade_in: float = option(0.0, "seconds over which a clip comes up at its beginning")
    fade_out: float = option(0.0, "seconds over which a clip goes down at its end")


def check_finishing(options: FinishingOptions) -> None:
    """Raises UserError for values outside their ranges, and where pyloudnorm is asked for and missing."""
    for name in ("fade_in", "fade_out"):
        seconds = getattr(options, name)
        if not (math.isfinite(seconds) and seconds >= 0):
            raise UserError(f"{name} is {seconds}; it must be 0 or more seconds")
    if options.loudness is not None:
        if not -70 <= options.loudness <= 0:
            raise UserError(f"loudness is {options.loudness}; it must lie between -70 and 0 LUFS")
        _meter()


def finish(
    audio: np.ndarray,
    rate: int,
    target_length: float | None = None,
    wanted_rate: float | None = None,
    options: FinishingOptions | None = None,
) -> tuple[np.ndarray, int]:
    """`audio` [samples] cut to `target_length` seconds, resampled to `wanted_rate` Hz, finished; with its rate."""
    options = options or FinishingOptions()
    if options.trim_onset:
        audio = audio[max(0, onset(audio, rate) - round(LEAD * rate)) :]
    if target_length is not None:
        audio = cut_at_onset(audio, round(target_length * rate), rate)
    if wanted_rate is not None and int(wanted_rate) != rate:
        import torch

        from soundctm.data.resampling import resample

        audio = resample(torch.from_numpy(np.ascontiguousarray(audio)), rate, int(wanted_rate)).numpy()
        rate = int(wanted_rate)
    if options.loudness is not None:
        audio = at_loudness(audio, rate, options.loudness)
    return faded(audio, rate, options.fade_in, options.fade_out), rate


def at_loudness(audio: np.ndarray, rate: int, wanted: float) -> np.ndarray:
    """`audio` [samples] at the loudness `wanted` in LUFS; less loud where full scale does not allow it. Silence stays.

    Raises UserError without pyloudnorm.
    """
    measured = loudness(audio, rate)
    if not math.isfinite(measured):
        return audio
    louder = audio * np.float32(10 ** ((wanted - measured) / 20))
    return louder / max(1.0, float(np.abs(louder).max(initial=0.0)))


def loudness(audio: np.ndarray, rate: int) -> float:
    """Integrated loudness of `audio` [samples] in LUFS; -inf for silence. Raises UserError without pyloudnorm."""
    if not audio.any():
        return -math.inf
    meter = _meter()(rate, block_size=min(BLOCK, len(audio) / rate))
    return float(meter.integrated_loudness(audio.astype(np.float64)))


def faded(audio: np.ndarray, rate: int, fade_in: float, fade_out: float) -> np.ndarray:
    """`audio` [samples] that comes up and goes down over so many seconds, along a quarter of a cosine."""
    audio = np.array(audio, np.float32)
    up, down = (min(len(audio), round(seconds * rate)) for seconds in (fade_in, fade_out))
    if up:
        audio[:up] *= np.sin(0.5 * np.pi * np.arange(up) / up).astype(np.float32)
    if down:
        audio[-down:] *= np.cos(0.5 * np.pi * (np.arange(down) + 1) / down).astype(np.float32)
    return audio


def cut_at_onset(audio: np.ndarray, samples: int, rate: int) -> np.ndarray:
    """`samples` of `audio` [n] from shortly before its sound begins, or from as late as there are so many left."""
    if len(audio) <= samples:
        return audio
    start = max(0, onset(audio, rate) - round(LEAD * rate))
    start = min(start, len(audio) - samples)
    return audio[start : start + samples]


def onset(audio: np.ndarray, rate: int) -> int:
    """The first sample of the first frame that comes within ONSET_DB of the loudest; 0 for silence."""
    frame = max(1, round(FRAME * rate))
    peaks = np.pad(np.abs(audio), (0, -len(audio) % frame)).reshape(-1, frame).max(1)
    return int(np.argmax(peaks >= peaks.max() * 10 ** (-ONSET_DB / 20))) * frame


def is_nearly_silent(audio: np.ndarray) -> bool:
    """Is there nothing to hear in `audio` [n]?"""
    return float(np.abs(audio).max(initial=0.0)) < NEARLY_SILENT


def _meter() -> type:
    try:
        from pyloudnorm import Meter
    except ImportError as error:
        raise UserError("loudness needs the Python package pyloudnorm: pip install soundctm[loudness]") from error
    return Meter
