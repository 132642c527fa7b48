"""One way to change a sampling rate, for every rate: the official kernel, a sinc under a Kaiser window.

    y[k] = sum_i x[i] h(i - k rate / new_rate),   h(d) = c sinc(c d) w(c d),   c = rolloff min(1, new_rate / rate)

with w the window of `WIDTHS` zero crossings on each side. torchaudio computes it as a convolution with one
kernel per phase. There are new_rate / gcd phases of rate / gcd samples, so its work and memory explode for rates that
share no factor (1 s at 22,254 Hz: half a minute and 2 GiB). Such rates get h computed at every place instead: the same
numbers but for float32 rounding, in time proportional to the length of the sound.

The kernel "best" is resampy's kaiser_best, ten times as wide, for scores whose published values were made with kernels
of that kind. "plain" is what torchaudio does where it is told nothing, a Hann window; SoundCTM-DiT was trained so.
"""

from __future__ import annotations

import functools
import math

import torch
import torchaudio
from torch import Tensor

WIDTHS = {"official": 6, "best": 64, "plain": 6}  # zero crossings
ROLLOFFS = {"official": 0.95, "best": 0.9475937167399596, "plain": 0.99}
KERNELS = {  # in words, for reports
    "official": "sinc_interp_kaiser (as torchaudio), rolloff 0.95",
    "best": "sinc_interp_kaiser (as resampy's kaiser_best), rolloff 0.9476, 64 zero crossings",
    "plain": "sinc_interp_hann (as torchaudio), rolloff 0.99",
}
BETA = 14.769656459379492  # of the Kaiser window: torchaudio's default, and that of kaiser_best
MOST_KERNEL = 1 << 20  # numbers in torchaudio's kernel: 11,025 -> 16,000 Hz has 300,000
AT_ONCE = 1 << 20  # numbers of the kernel that are computed together otherwise


def resample(waveform: Tensor, rate: int, new_rate: int, kernel: str = "official") -> Tensor:
    """`waveform` float32 [..., n] from `rate` to `new_rate` Hz: [..., ceil(n new_rate / rate)], `kernel` of `KERNELS`.

    Raises ValueError for rates below 1 Hz.
    """
    if rate < 1 or new_rate < 1:
        raise ValueError(f"a sound at {rate} Hz cannot be resampled to {new_rate} Hz; rates are at least 1 Hz")
    if rate == new_rate:
        return waveform
    if _kernel_size(rate, new_rate, kernel) <= MOST_KERNEL:
        return _resampler(rate, new_rate, kernel)(waveform)
    return resample_by_place(waveform, rate, new_rate, kernel)


def resample_by_place(waveform: Tensor, rate: int, new_rate: int, kernel: str = "official") -> Tensor:
    """`resample` with the kernel computed at every place, for any two rates."""
    share = math.gcd(rate, new_rate)
    rate, new_rate = rate // share, new_rate // share
    n = waveform.shape[-1]
    rows = waveform.reshape(math.prod(waveform.shape[:-1]), n).double()
    width, cutoff = WIDTHS[kernel], ROLLOFFS[kernel] * min(1.0, new_rate / rate)
    reach = min(math.ceil(width / cutoff), n)  # input samples on each side; beyond it there is nothing to weight
    padded = torch.nn.functional.pad(rows, (reach, reach + 1))
    taps = torch.arange(-reach, reach + 1, device=waveform.device)
    length = -(-n * new_rate // rate)
    parts = []
    for start in range(0, length, step := max(1, AT_ONCE // len(taps))):
        places = torch.arange(start, min(start + step, length), device=waveform.device) * rate
        nearest = places.div(new_rate, rounding_mode="floor")
        within = (places - nearest * new_rate).double() / new_rate
        weights = _weights((taps - within[:, None]) * cutoff, width, kernel) * cutoff
        heard = padded[:, nearest[:, None] + (taps + reach)]  # [rows, places, taps]
        parts.append((heard * weights).sum(-1))
    made = torch.cat(parts, dim=-1) if parts else rows[:, :0]
    return made.to(waveform.dtype).reshape(*waveform.shape[:-1], length)


def _weights(t: Tensor, width: int, kernel: str) -> Tensor:
    """sinc(t) under the window, zero from `width` on; float64."""
    if kernel == "plain":
        window = (t.clamp(-width, width) * (math.pi / 2 / width)).cos().square()
        return torch.sinc(t) * window
    inside = (1 - (t / width).square()).clamp_min(0)
    window = torch.special.i0(BETA * inside.sqrt()) / torch.special.i0(torch.tensor(BETA, dtype=torch.float64))
    return torch.where(t.abs() < width, torch.sinc(t) * window.to(t.device), 0.0)


def _kernel_size(rate: int, new_rate: int, kernel: str = "official") -> int:
    """Numbers in torchaudio's kernel: phases times their length."""
    share = math.gcd(rate, new_rate)
    rate, new_rate = rate // share, new_rate // share
    return new_rate * (rate + 2 * math.ceil(WIDTHS[kernel] * rate / (ROLLOFFS[kernel] * min(rate, new_rate))))


@functools.lru_cache(maxsize=32)
def _resampler(rate: int, new_rate: int, kernel: str) -> torchaudio.transforms.Resample:
    return torchaudio.transforms.Resample(
        rate,
        new_rate,
        resampling_method="sinc_interp_hann" if kernel == "plain" else "sinc_interp_kaiser",
        lowpass_filter_width=WIDTHS[kernel],
        rolloff=ROLLOFFS[kernel],
        beta=None if kernel == "plain" else BETA,
        dtype=torch.float32,  # the precision in which torchaudio.functional.resample builds its kernel
    )
