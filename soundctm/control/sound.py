"""What a measure may look at: power over time and frequency, the waveform, and the log-mel where there is one.

`power` has one form for every source, so that a measure is written once: [B, frames, bins] in units in which the sum
over bins is the mean square of the frame under a squared Hann window of 64 ms; a frame every 10 ms, the first one
centred on the first sample. From a waveform it is exact. From a log-mel it is an estimate that needs no vocoder, the
costliest part of a codec: every bin of a band is taken to have the band's mean magnitude, and, as noise has,
4/pi times its square in power.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import torchaudio
from torch import Tensor

FRAME_SECONDS, HOP_SECONDS = 0.064, 0.01
NOISE_POWER = 4 / math.pi  # mean square over squared mean of the magnitude of Gaussian noise


class Sound:
    """A batch of sounds; every view is made when it is first asked for, and is differentiable."""

    def __init__(
        self, rate: int, waveform: Tensor | None = None, codec: Any = None, latents: Tensor | None = None
    ) -> None:
        """Use `of_waveform` or `of_latents`."""
        self.rate, self._waveform, self._codec, self._latents = rate, waveform, codec, latents

    @classmethod
    def of_waveform(cls, waveform: Tensor, rate: int) -> Sound:
        """Waveforms [B, samples] at `rate` Hz."""
        return cls(rate, waveform=waveform)

    @classmethod
    def of_latents(cls, codec: Any, latents: Tensor) -> Sound:
        """What `codec` decodes latents [B, C, T, ...] to."""
        return cls(codec.sampling_rate, codec=codec, latents=latents)

    @property
    def has_mel(self) -> bool:
        """Whether `log_mel` can be had without decoding to a waveform."""
        return self._latents is not None and hasattr(self._codec, "decode_mel")

    @functools.cached_property
    def waveform(self) -> Tensor:
        """[B, samples] at `rate` Hz."""
        if self._waveform is not None:
            return self._waveform
        codec = self._codec
        # `decode` is for listening: a codec may limit what it gives, and follow no gradients
        return (codec.synthesise if hasattr(codec, "synthesise") else codec.decode)(self._latents)

    @functools.cached_property
    def log_mel(self) -> Tensor:
        """[B, 1, frames, mels] of the codec; AttributeError where it has none."""
        return self._codec.decode_mel(self._latents)

    @functools.cached_property
    def power(self) -> Tensor:
        """[B, frames, bins], see the module's docstring."""
        if self.has_mel:
            _, _, gains = _mel_bands(self._codec.mel.config)
            return (2 * self.log_mel[:, 0]).exp() * gains.to(self.log_mel)
        size, hop, window = self._stft()
        frames = torch.stft(
            self.waveform, size, hop, window=window.to(self.waveform), pad_mode="constant", return_complex=True
        ).transpose(1, 2)
        # Parseval: all bins but the first and last stand for two.
        twice = torch.full((size // 2 + 1,), 2.0, device=frames.device, dtype=self.waveform.dtype)
        twice[0] = twice[-1] = 1.0
        squared = frames.real.square() + frames.imag.square()
        return squared[:, : self.waveform.shape[1] // hop] * (twice / (size * window.square().sum().to(twice)))

    @property
    def hz(self) -> Tensor:
        """Frequency of every bin of `power`, [bins]."""
        if self.has_mel:
            return _mel_bands(self._codec.mel.config)[0].to(self.power)
        size, _, _ = self._stft()
        return torch.arange(size // 2 + 1, device=self.power.device, dtype=self.power.dtype) * self.rate / size

    @property
    def widths(self) -> Tensor:
        """Share of the spectrum that every bin of `power` stands for, [bins]; they sum to 1."""
        if self.has_mel:
            return _mel_bands(self._codec.mel.config)[1].to(self.power)
        return torch.full_like(self.hz, 1 / len(self.hz))

    def _stft(self) -> tuple[int, int, Tensor]:
        size = 2 * round(self.rate * FRAME_SECONDS / 2)
        return size, round(self.rate * HOP_SECONDS), torch.hann_window(size, dtype=torch.float64)


def mel_centres(config: Any) -> Tensor:
    """Centre of every band of a log-mel front end in Hz, [mels]."""
    return _mel_bands(config)[0]


@functools.lru_cache(maxsize=8)
def _mel_bands(config: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(centre in Hz, share of the spectrum, power per squared mel value) of every band [mels]; float64."""
    bins = config.n_fft // 2 + 1
    basis = torchaudio.functional.melscale_fbanks(
        bins, config.fmin, config.fmax, config.n_mels, config.sampling_rate, norm="slaney", mel_scale="slaney"
    ).double()
    hz = torch.arange(bins, dtype=torch.float64) * config.sampling_rate / config.n_fft
    sums = basis.sum(0)
    members = (basis / basis.sum(1, keepdim=True).clamp_min(1e-12)).sum(0)  # bins that a band speaks for
    window = torch.hann_window(config.n_fft, dtype=torch.float64)
    gains = 2 * NOISE_POWER * members / sums.square() / (config.n_fft * window.square().sum())
    return (hz[:, None] * basis).sum(0) / sums, members / members.sum(), gains
