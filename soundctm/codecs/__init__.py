"""What turns waveforms into latents and back. The mel codec is `audioldm`'s, the one at 44.1 kHz `waveform`'s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import os

    import torch
    from torch import Tensor


class Codec(Protocol):
    """What samplers, trainings and scripts ask of a codec. Latents are [B, C, T, ...], T frames long."""

    sampling_rate: int  # Hz
    default_seconds: float  # of a clip
    samples_per_latent: int  # that a latent frame covers
    scale_factor: float  # latents are this times what `moments` describes
    can_decode: bool
    reading: str  # how sounds are read for it, one of soundctm.data.audio.READINGS
    sample_format: str  # of wavs, "16" or "float" (soundctm.files.sounds): that of the official scripts
    device: torch.device
    dtype: torch.dtype

    def latent_shape(self, seconds: float | None = None) -> tuple[int, ...]:
        """[C, T, ...] of a clip of `seconds`, of the default length when none are given. Raises CodecError."""

    def encode(self, waveform: Tensor, generator=None, sample_posterior: bool = True) -> Tensor:
        """Latents of waveforms [B, samples] in [-1, 1]."""

    def moments(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, before scale_factor."""

    def decode(self, latents: Tensor) -> Tensor:
        """Waveforms float32 [B, samples] in [-1, 1]. Raises CodecError for latents of another shape."""

    def synthesise(self, latents: Tensor) -> Tensor:
        """As `decode`, differentiable."""

    def encoder_state(self) -> dict[str, Tensor]:
        """The tensors that latents depend on."""

    def encoder_to(self, device: torch.device | str) -> None:
        """Move what encodes."""

    def to(self, device: torch.device | str) -> Codec:
        """Move everything."""

    def in_dtype(self, dtype: torch.dtype) -> Codec:
        """Its networks in `dtype`."""

    def save_pretrained(self, folder: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
        """Write a folder that `soundctm.checkpoints.load_codec` reads."""


__all__: Sequence[str] = ["Codec"]
