"""Vocoders: log-mel -> waveform.

Full size is transformers' SpeechT5HifiGan in AudioLDM's shape. The small model uses `InverseSTFTVocoder`: a stack of
one-dimensional ConvNeXt blocks at the frame rate that predicts log magnitude and phase of every STFT bin, followed by
one inverse STFT (the idea of Vocos, Siuzdak, ICLR 2024). It needs no upsampling network, so that a CPU core trains it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .errors import CodecError
from .library import ConfigMixin, ModelMixin, SpeechT5HifiGan, SpeechT5HifiGanConfig, register_to_config
from .parts import load_part

MAX_LOG_MAGNITUDE = 5.0  # e^5 = 148; a full-scale sine reaches half the window's sum, 160 for 640 samples


def build_hifigan(
    n_mels: int = 64,
    channels: int = 1024,
    upsample_rates: Sequence[int] = (5, 4, 2, 2, 2),
    upsample_kernel_sizes: Sequence[int] = (16, 16, 8, 4, 4),
    resblock_kernel_sizes: Sequence[int] = (3, 7, 11),
    sampling_rate: int = 16000,
) -> SpeechT5HifiGan:
    """AudioLDM's HiFi-GAN with fresh weights, by default in the released size. Input [B, T, n_mels], not normalised."""
    config = SpeechT5HifiGanConfig(
        model_in_dim=n_mels,
        sampling_rate=sampling_rate,
        upsample_initial_channel=channels,
        upsample_rates=list(upsample_rates),
        upsample_kernel_sizes=list(upsample_kernel_sizes),
        resblock_kernel_sizes=list(resblock_kernel_sizes),
        resblock_dilation_sizes=[[1, 3, 5]] * len(resblock_kernel_sizes),
        normalize_before=False,
    )
    return SpeechT5HifiGan(config)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a pointwise bottleneck, with a learned residual gain; [B, C, T] -> same."""

    def __init__(self, channels: int, hidden: int, kernel_size: int, gain: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.expand = nn.Linear(channels, hidden)
        self.reduce = nn.Linear(hidden, channels)
        self.gain = nn.Parameter(torch.full((channels,), gain))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.depthwise(x).transpose(1, 2))
        hidden = self.reduce(nn.functional.gelu(self.expand(hidden), approximate="tanh"))
        return x + (self.gain * hidden).transpose(1, 2)


class InverseSTFTVocoder(ModelMixin, ConfigMixin):
    """Log-mel [B, T, n_mels] -> waveform [B, T * hop_length] through predicted STFT frames."""

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        n_mels: int = 64,
        channels: int = 256,
        hidden: int = 768,
        layers: int = 8,
        kernel_size: int = 7,
        n_fft: int = 640,
        hop_length: int = 160,
        mel_mean: float = -6.0,
        mel_std: float = 3.0,
        refinements: int = 0,
    ) -> None:
        super().__init__()
        if n_fft % 2 or not 0 < hop_length < n_fft:
            raise CodecError(f"windows of {n_fft} samples, one every {hop_length}: they must be even, and overlap")
        if not mel_std > 0:
            raise CodecError(f"mel_std is {mel_std}; it must be above 0")
        bins = n_fft // 2 + 1
        self.embed = nn.Conv1d(n_mels, channels, kernel_size, padding=kernel_size // 2)
        self.embed_norm = nn.LayerNorm(channels, eps=1e-6)
        self.blocks = nn.ModuleList(ConvNeXtBlock(channels, hidden, kernel_size, 1 / layers) for _ in range(layers))
        self.final_norm = nn.LayerNorm(channels, eps=1e-6)
        self.head = nn.Linear(channels, 3 * bins)  # log magnitude, then the two coordinates of the phase
        # On a meta device, where only shapes are looked at, a window and random weights would start torch's compiler.
        self.register_buffer("window", torch.hann_window(n_fft, device="cpu"), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d) and not module.weight.is_meta:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def spectrum(self, mel: Tensor) -> Tensor:
        """Complex STFT frames [B, bins, T] of log-mels [B, T, n_mels]."""
        x = self.embed(((mel - self.config.mel_mean) / self.config.mel_std).transpose(1, 2))
        x = self.embed_norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        x = self.head(self.final_norm(x.transpose(1, 2))).transpose(1, 2).float()
        log_magnitude, real, imaginary = x.chunk(3, dim=1)
        # Dividing by the length of (real, imaginary) gives cos and sin of their angle without a trigonometric gradient.
        scale = log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp() * torch.rsqrt(real**2 + imaginary**2 + 1e-8)
        return torch.complex(real * scale, imaginary * scale)

    def forward(self, mel: Tensor) -> Tensor:
        """Waveform [B, T * hop_length], float32, not yet limited to [-1, 1].

        Predicted frames overlap fourfold and rarely agree. Each refinement (a step of Griffin-Lim, trained through)
        keeps the predicted magnitudes and takes the phases that the frames have after they were put together.
        """
        frames, samples = self.spectrum(mel), mel.shape[1] * self.config.hop_length
        waveform = self._synthesise(frames, samples)
        for _ in range(self.config.refinements):
            whole = self._analyse(waveform)[..., : frames.shape[-1]]
            squared = whole.real.square() + whole.imag.square()
            waveform = self._synthesise(frames.abs() * whole * torch.rsqrt(squared + 1e-8), samples)
        return waveform

    def _synthesise(self, frames: Tensor, samples: int) -> Tensor:
        n_fft, hop = self.config.n_fft, self.config.hop_length
        return torch.istft(frames, n_fft, hop, window=self.window.float(), center=True, length=samples)

    def _analyse(self, waveform: Tensor) -> Tensor:
        n_fft, hop = self.config.n_fft, self.config.hop_length
        return torch.stft(waveform, n_fft, hop, window=self.window.float(), center=True, return_complex=True)


VOCODERS = {"SpeechT5HifiGan": SpeechT5HifiGan, "InverseSTFTVocoder": InverseSTFTVocoder}


def load_vocoder(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The vocoder saved in `folder`; its config.json says which class. Raises CodecError as `load_part`."""
    return load_part(folder, VOCODERS, "vocoder", dtype)


def layout(vocoder: nn.Module) -> tuple[int, int]:
    """(mel bands, samples per frame) of a vocoder."""
    config = vocoder.config
    if isinstance(vocoder, InverseSTFTVocoder):
        return config.n_mels, config.hop_length
    return config.model_in_dim, math.prod(config.upsample_rates)
