"""From what the pipeline made to the clip that was asked for: length, rate, and whether there is anything to hear.

A length below the model's own is cut from a clip of the model's own length, beginning at the onset of its sound: the
content is that of the whole clip, and no clip ends before its first bark. (Generating fewer latent frames works, too,
but a model has learned one length; on the small model neither way was better by class.)
"""

from __future__ import annotations

import numpy as np
import torch

from soundctm.data.resampling import resample

NEARLY_SILENT = 1e-3  # largest |sample| of a clip in which nothing is heard: -60 dBFS
ONSET_DB = 20.0  # below the loudest point, where a sound begins
LEAD = 0.01  # seconds kept before it
FRAME = 0.005  # seconds


def finish(
    audio: np.ndarray, rate: int, target_length: float | None, wanted_rate: float | None
) -> tuple[np.ndarray, int]:
    """`audio` [samples] cut to `target_length` seconds and resampled to `wanted_rate` Hz, with its rate."""
    if target_length is not None:
        audio = cut_at_onset(audio, round(target_length * rate), rate)
    if wanted_rate is None or int(wanted_rate) == rate:
        return audio, rate
    return resample(torch.from_numpy(np.ascontiguousarray(audio)), rate, int(wanted_rate)).numpy(), int(wanted_rate)


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
