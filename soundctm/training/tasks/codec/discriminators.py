"""Discriminators of the vocoder's adversarial loss, small enough for a CPU.

`SpectrogramDiscriminator` sees the complex STFT at one resolution (as in EnCodec and DAC), `PeriodDiscriminator` the
waveform folded at one period (HiFi-GAN). Both return their score map and their inner feature maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Maps = list[Tensor]


class SpectrogramDiscriminator(nn.Module):
    """Waveform [B, samples] -> ([score map], features) from its STFT of `n_fft` samples, hop a quarter."""

    def __init__(self, n_fft: int, channels: int = 16) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        layers = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        layers += [nn.Conv2d(channels, channels, (3, 9), stride=(1, 2), padding=(1, 4)) for _ in range(3)]
        layers += [nn.Conv2d(channels, channels, 3, padding=1)]
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.score = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Maps]:
        spectrum = torch.stft(
            waveform.float(), self.n_fft, self.n_fft // 4, window=self.window, normalized=True, return_complex=True
        )
        x = torch.view_as_real(spectrum).permute(0, 3, 2, 1)  # [B, 2, frames, bins]
        # Fourth-root magnitudes: quiet parts of a sound are seen too.
        x = x * (x.square().sum(1, keepdim=True) + 1e-8).pow(-0.375)
        return _run(self, x.contiguous(memory_format=torch.channels_last))


class PeriodDiscriminator(nn.Module):
    """Waveform [B, samples] -> (score map, features) of the waveform folded into rows of `period` samples."""

    def __init__(self, period: int, channels: int = 16) -> None:
        super().__init__()
        self.period = period
        widths = [1, channels, 2 * channels, 4 * channels, 4 * channels]
        pairs = zip(widths[:-1], widths[1:], strict=True)
        layers = [nn.Conv2d(a, b, (5, 1), (3, 1), padding=(2, 0)) for a, b in pairs]
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, waveform: Tensor) -> tuple[Tensor, Maps]:
        rows = waveform.shape[1] // self.period
        return _run(self, waveform[:, : rows * self.period].reshape(len(waveform), 1, rows, self.period))


class Discriminators(nn.Module):
    """All discriminators; waveform [B, samples] -> one (score map, features) per discriminator."""

    def __init__(
        self,
        resolutions: Sequence[int] = (256, 512, 1024),
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        channels: int = 16,
    ) -> None:
        super().__init__()
        members = [SpectrogramDiscriminator(n_fft, channels) for n_fft in resolutions]
        members += [PeriodDiscriminator(period, channels) for period in periods]
        self.members = nn.ModuleList(members)

    def forward(self, waveform: Tensor) -> list[tuple[Tensor, Maps]]:
        return [member(waveform) for member in self.members]


def discriminator_loss(real: list[tuple[Tensor, Maps]], fake: list[tuple[Tensor, Maps]]) -> Tensor:
    """Hinge loss: real scores above 1, generated ones below -1; mean over discriminators."""
    losses = [
        (1 - r.float()).relu().mean() + (1 + f.float()).relu().mean() for (r, _), (f, _) in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_loss(fake: list[tuple[Tensor, Maps]]) -> Tensor:
    """Hinge loss of the generator: raise the scores; mean over discriminators."""
    return torch.stack([-score.float().mean() for score, _ in fake]).mean()


def feature_loss(real: list[tuple[Tensor, Maps]], fake: list[tuple[Tensor, Maps]]) -> Tensor:
    """L1 between feature maps relative to the real map's mean size; mean over maps and discriminators."""
    losses = []
    for (_, maps_r), (_, maps_f) in zip(real, fake, strict=True):
        for r, f in zip(maps_r, maps_f, strict=True):
            r, f = r.detach().float(), f.float()
            losses.append((f - r).abs().mean() / (r.abs().mean() + 1e-4))
    return torch.stack(losses).mean()


def _run(module: nn.Module, x: Tensor) -> tuple[Tensor, Maps]:
    maps = []
    for layer in module.layers:
        x = nn.functional.leaky_relu(layer(x), 0.1)
        maps.append(x)
    return module.score(x), maps
