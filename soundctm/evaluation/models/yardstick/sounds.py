"""What is measured of sets of waveforms: YAMNet's embeddings without silent frames, and levels.

Half of the real clips end in silence. YAMNet's frames of it are all alike, so they shrink the distance between any two
sets and reward a model for being silent as often as the corpus is; here they are left out on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from soundctm.data.audio import SAMPLING_RATE
from soundctm.evaluation.extractors.yamnet import YAMNet
from soundctm.evaluation.statistics.frechet import frechet_distance
from soundctm.evaluation.statistics.kernels import kernel_audio_distance

FRAME, HOP = 15_600, 7_680  # samples that YAMNet hears per frame: 0.975 s every 0.48 s
SILENT_DB = -60.0  # RMS re full scale below which a frame or a moment is silent
MOMENT = 160  # samples of a moment, 10 ms
BATCH = 32


def clip_embeddings(net: YAMNet, waveforms: Tensor) -> list[Tensor]:
    """Embeddings [P, D] of every waveform [N, n] at 16 kHz: all its frames, silent ones too."""
    return [clip for batch in waveforms.split(BATCH) for clip in net(batch)[0]]


def audible(embeddings: Sequence[Tensor], waveforms: Tensor) -> list[Tensor]:
    """The frames in which something is heard; clips without one are left out."""
    found = []
    for clip, waveform in zip(embeddings, waveforms, strict=True):
        frames = [waveform[k * HOP : k * HOP + FRAME] for k in range(len(clip))]
        loud = torch.tensor([_db(frame) >= SILENT_DB for frame in frames])
        if loud.any():
            found.append(clip[loud])
    return found


def distances(real: Sequence[Tensor], made: Sequence[Tensor]) -> dict[str, dict[str, float | None]]:
    """KAD and FAD between frames of real and made clips, with 95 % intervals over clips (jackknife)."""
    named = {"kad_yamnet_nonsilent": kernel_audio_distance, "fad_yamnet_nonsilent": frechet_distance}
    scores = {name: score(list(real), list(made)) for name, score in named.items()}
    return {name: {"value": s.value, "low": s.low, "high": s.high} for name, s in scores.items()}


def levels(waveforms: Tensor) -> dict[str, np.ndarray]:
    """Per clip of [N, n]: loudness of what is not silent (dB re full scale), offset (share of RMS), seconds heard."""
    found: dict[str, list[float]] = {"loudness_db": [], "offset": [], "seconds": []}
    for waveform in waveforms:
        moments = waveform[: len(waveform) // MOMENT * MOMENT].reshape(-1, MOMENT)
        power = moments.square().mean(1)
        heard = power >= 10 ** (SILENT_DB / 10)
        rms = waveform.square().mean().sqrt()
        loudness = 10 * torch.log10(power[heard].mean()) if heard.any() else torch.tensor(SILENT_DB)
        found["loudness_db"].append(float(loudness))
        found["offset"].append(float(waveform.mean().abs() / rms.clamp_min(1e-9)))
        found["seconds"].append(float(heard.sum()) * MOMENT / SAMPLING_RATE)
    return {name: np.array(values) for name, values in found.items()}


def compared_levels(real: dict[str, np.ndarray], made: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Medians of both, and how far the distributions lie apart (Wasserstein's first distance, in the same unit)."""
    return {
        name: {
            "real": float(np.median(real[name])),
            "made": float(np.median(made[name])),
            "apart": float(wasserstein_distance(real[name], made[name])),
        }
        for name in real
    }


def _db(waveform: Tensor) -> float:
    return float(10 * torch.log10(waveform.square().mean().clamp_min(1e-20))) if len(waveform) else -200.0
