"""Mixing two sounds at equal loudness, the augmentation of the official training, and joining their captions.

Loudness is the A-weighted power of the loudest frame in dB. With g_a, g_b of two sounds and the ratio r,

    t = 1 / (1 + 10^((g_a - g_b) / 20) (1 - r) / r),    mixed = (a t + b (1 - t)) / sqrt(t^2 + (1 - t)^2)

so r = 0.5 makes both equally loud (Tokozume et al., "Learning from between-class examples", 2018, equation 2).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from soundctm.data.audio import PEAK, SAMPLING_RATE, normalise_peak

N_FFT = 2048  # of a frame, twice as many at full band: 0.13 and 0.09 s; frames overlap by half
FULL_BAND = 32_000  # Hz from which on
TOGETHER = 3  # mixtures that keep their levels to one another, where sounds keep their level
FLOOR_DB = -80.0


@functools.lru_cache(maxsize=8)
def _weighting(sampling_rate: int) -> Tensor:
    """A-weighting as a power factor per bin of a frame's spectrum, float64 [frame / 2 + 1]."""
    frequency = torch.linspace(0, sampling_rate / 2, frame_length(sampling_rate) // 2 + 1, dtype=torch.float64)
    frequency[0] = 1.0
    f2 = frequency.square()
    db = 2.0 + 20 * (
        2 * math.log10(12194.0)
        + 2 * f2.log10()
        - (f2 + 12194.0**2).log10()
        - (f2 + 20.6**2).log10()
        - 0.5 * (f2 + 107.7**2).log10()
        - 0.5 * (f2 + 737.9**2).log10()
    )
    return 10 ** (db.clamp(min=FLOOR_DB) / 10)


def frame_length(sampling_rate: int) -> int:
    """Samples of a frame whose loudness is measured."""
    return N_FFT if sampling_rate < FULL_BAND else 2 * N_FFT


def a_weighted_gain(waveform: Tensor, sampling_rate: int = SAMPLING_RATE) -> Tensor:
    """A-weighted gain in dB of every frame: [n] -> float64 [frames], at least -80; short sounds are zero-padded."""
    length = frame_length(sampling_rate)
    missing = max(0, length - waveform.numel())
    frames = torch.nn.functional.pad(waveform.double(), (0, missing)).unfold(0, length, length // 2)
    window = torch.hann_window(length, periodic=True, dtype=torch.float64)
    power = torch.fft.rfft(frames * window).abs().square()
    return 10 * (power @ _weighting(sampling_rate)).clamp(min=10 ** (FLOOR_DB / 10)).log10()


def mix_coefficient(a: Tensor, b: Tensor, r: float = 0.5, sampling_rate: int = SAMPLING_RATE) -> float:
    """The coefficient t of `a` in the mix at ratio r (module docstring)."""
    if not 0 < r < 1:
        raise ValueError(f"r is {r}; it must lie between 0 and 1")
    gain_a = a_weighted_gain(a, sampling_rate).max().item()
    gain_b = a_weighted_gain(b, sampling_rate).max().item()
    return 1 / (1 + 10 ** ((gain_a - gain_b) / 20) * (1 - r) / r)


def mix_pair(a: Tensor, b: Tensor, r: float = 0.5, sampling_rate: int = SAMPLING_RATE) -> Tensor:
    """Two sounds of one length mixed: [n], [n] -> float32 [n]. A silent one leaves the other alone."""
    if a.shape != b.shape:
        raise ValueError(f"sounds of {a.numel()} and {b.numel()} samples cannot be mixed")
    t = mix_coefficient(a, b, r, sampling_rate)
    return ((a.double() * t + b.double() * (1 - t)) / math.sqrt(t**2 + (1 - t) ** 2)).float()


def draw_pairs(num_clips: int, num_items: int, generator: torch.Generator | None = None) -> list[tuple[int, int]]:
    """At most `num_items` different pairs of clips of one batch, in random order; fewer where fewer exist."""
    pairs = list(itertools.combinations(range(num_clips), 2))
    order = torch.randperm(len(pairs), generator=generator).tolist()
    return [pairs[i] for i in order[: max(0, num_items)]]


def augment(
    waveforms: Tensor,
    captions: Sequence[str],
    num_items: int = 2,
    *,
    generator: torch.Generator | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    sampling_rate: int = SAMPLING_RATE,
) -> tuple[Tensor, list[str]]:
    """Mix pairs of a batch: [B, n] and B captions -> ([K, n], K captions); K = num_items, fewer in a small batch.

    All mixes are scaled together so that their common peak is 0.5, as in the official code. Rows must be finite
    (`load_clip` sees to that): there one silent file turned every mixed row of the step into NaN.
    """
    if len(captions) != len(waveforms):
        raise ValueError(f"{len(waveforms)} waveforms need as many captions, not {len(captions)}")
    if not torch.isfinite(waveforms).all():
        raise ValueError("a waveform holds NaN or infinite samples")
    if pairs is None:
        pairs = draw_pairs(len(waveforms), num_items, generator)
    if not pairs:
        return waveforms.new_zeros(0, waveforms.shape[1]), []
    mixed = torch.stack([mix_pair(waveforms[i], waveforms[j], 0.5, sampling_rate) for i, j in pairs])
    return normalise_peak(mixed, PEAK), [join_captions(captions[i], captions[j]) for i, j in pairs]


def join_captions(first: str, second: str) -> str:
    """ "A dog barks", "Rain falls." -> "A dog barks and rain falls.": the official rule, letter by letter.

    It lowers the first letter of the second caption whatever follows (`USA` -> `uSA`), and joins empty captions too:
    ("", "Wind") -> " and wind". The official training drops captions before mixing and so feeds such strings to the
    text encoder; a training loop should mix first and then drop whole captions (`drop_captions`).
    """
    return f"{first} and {second[:1].lower()}{second[1:]}"


def drop_captions(captions: Sequence[str], probability: float, generator: torch.Generator | None = None) -> list[str]:
    """Each caption replaced by the unconditional prompt "" with the given probability; to be used after mixing."""
    kept = torch.rand(len(captions), generator=generator) >= probability
    return [caption if keep else "" for caption, keep in zip(captions, kept.tolist(), strict=True)]
