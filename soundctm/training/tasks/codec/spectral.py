"""Distances between spectra: the reconstruction part of the vocoder's loss, and its validation numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from soundctm.audioldm import LogMel, MelConfig

FLOOR = 1e-3  # smallest STFT magnitude before a logarithm; the codec's mel clamp lies at the same level


class SpectralDistance(nn.Module):
    """Multi-resolution STFT distance (Yamamoto et al. 2020) and multi-resolution log-mel L1 between waveforms."""

    def __init__(
        self,
        stft_sizes: Sequence[int] = (256, 512, 1024, 2048),
        mels: Sequence[tuple[int, int, int]] = ((1024, 160, 64), (256, 64, 20), (512, 128, 40), (2048, 512, 128)),
        sampling_rate: int = 16000,
    ) -> None:
        """`mels` lists (n_fft, hop, bands); the first is the codec's own."""
        super().__init__()
        self.sizes = tuple(stft_sizes)
        for size in self.sizes:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
        self.mels = nn.ModuleList(LogMel(MelConfig(sampling_rate, n, hop, bands)) for n, hop, bands in mels)

    def stft(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Spectral convergence plus L1 of log magnitudes, mean over resolutions, of waveforms [B, samples]."""
        total = estimate.new_zeros(())
        for size in self.sizes:
            e, t = (self._magnitude(w, size) for w in (estimate, target))
            convergence = ((e - t).square().sum((1, 2)) / t.square().sum((1, 2)).clamp_min(1e-2)).sqrt()
            total = total + convergence.clamp(max=3.0).mean() + (e.log() - t.log()).abs().mean()
        return total / len(self.sizes)

    def mel(self, estimate: Tensor, target: Tensor) -> Tensor:
        """L1 of log-mels, mean over resolutions, of waveforms [B, samples]."""
        return torch.stack([(mel(estimate) - mel(target)).abs().mean() for mel in self.mels]).mean()

    def codec_mel(self, estimate: Tensor, target: Tensor) -> Tensor:
        """L1 of the codec's own log-mels of waveforms [B, samples]."""
        return (self.mels[0](estimate) - self.mels[0](target)).abs().mean()

    def _magnitude(self, waveform: Tensor, size: int) -> Tensor:
        window = getattr(self, f"window_{size}")
        spectrum = torch.stft(waveform.float(), size, size // 4, window=window, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square()).clamp_min(FLOOR**2).sqrt()
