"""Taking away what sounds hold below hearing: an offset (DC), slow drift, handling and wind rumble.

Removing the mean of a whole clip, as the official reader does, leaves an offset that changes. A model learns it, and a
vocoder makes some by itself: clips then spend their level on what nobody hears. The filter has no phase shift,

    gain(f) = f^4 / (f^4 + cutoff^4)

so that it is 1/2 (-6 dB) at the cutoff, -1 dB at 1.7 times and -24 dB at half of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import CodecError

CUTOFF = 30.0  # Hz: an octave below the lowest notes of drums and engines that small speakers give


def remove_rumble(waveform: Tensor, sampling_rate: int, cutoff: float = CUTOFF) -> Tensor:
    """`waveform` float32 [..., n] at `sampling_rate` Hz without what lies below `cutoff` Hz (0: all stays).

    Its ends are mirrored for the filter, so that an offset at an end does not become a click. A constant becomes zeros.
    Raises CodecError for a cutoff that is no frequency.
    """
    if not 0 <= cutoff < sampling_rate / 2:
        raise CodecError(f"highpass is {cutoff} Hz; it must be 0 (all stays) or a frequency below half the rate")
    n = waveform.shape[-1]
    if cutoff == 0 or n == 0:
        return waveform
    edge = min(n - 1, round(2 * sampling_rate / cutoff))
    padded = torch.cat(
        [waveform[..., 1 : edge + 1].flip(-1), waveform, waveform[..., n - 1 - edge : n - 1].flip(-1)], -1
    )
    length = _fast_length(padded.shape[-1])
    # What is added behind has the value of the end: zeros would be a step.
    padded = torch.cat([padded, padded[..., -1:].expand(*padded.shape[:-1], length - padded.shape[-1])], -1)
    wide = torch.float32 if waveform.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    spectrum = torch.fft.rfft(padded.to(wide))
    frequency = torch.fft.rfftfreq(length, 1 / sampling_rate, dtype=wide, device=waveform.device)
    power = (frequency / cutoff).pow(4)
    filtered = torch.fft.irfft(spectrum * (power / (power + 1)), length)[..., edge : edge + n]
    return filtered.to(waveform.dtype)


def _fast_length(n: int) -> int:
    """The next length without prime factors above 5: others make the transform slow."""
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1
