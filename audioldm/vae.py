"""The mel VAEs: diffusers' AutoencoderKL in AudioLDM's shape (three levels, so time and mel shrink four times), and the
linear `PatchVAE` of the small model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .errors import CodecError
from .library import AutoencoderKL
from .parts import load_part
from .patches import PatchVAE

FULL_CHANNELS = (128, 256, 512)  # the released AudioLDM VAE, with two layers per block


def build_vae(
    channels: Sequence[int] = FULL_CHANNELS,
    layers_per_block: int = 2,
    latent_channels: int = 8,
    norm_num_groups: int = 32,
) -> AutoencoderKL:
    """A freshly initialised VAE for log-mels [B, 1, T, mels]; its latents are [B, latent_channels, T/4, mels/4]."""
    return AutoencoderKL(
        in_channels=1,
        out_channels=1,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=layers_per_block,
        latent_channels=latent_channels,
        norm_num_groups=norm_num_groups,
    )


def downsampling(vae: AutoencoderKL | PatchVAE) -> int:
    """How many mel frames one latent frame covers."""
    if isinstance(vae, PatchVAE):
        return vae.config.patch_size
    return 2 ** (len(vae.config.block_out_channels) - 1)


def posterior(vae: AutoencoderKL | PatchVAE, mel: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the latents of `mel` [B, 1, T, mels], each [B, C, T/4, mels/4]."""
    distribution = vae.encode(mel).latent_dist
    return distribution.mean, distribution.std


def sample_noise(like: Tensor, generator: torch.Generator | Sequence[torch.Generator] | None) -> Tensor:
    """Standard normal noise shaped as `like`; a list of generators gives every row its own, whatever the batch."""
    if generator is None or isinstance(generator, torch.Generator):
        rows = torch.randn(like.shape, generator=generator, device=_device(generator, like))
    else:
        if len(generator) != like.shape[0]:
            raise CodecError(f"{len(generator)} generators for a batch of {like.shape[0]}")
        rows = torch.stack([torch.randn(like.shape[1:], generator=g, device=g.device).cpu() for g in generator])
    return rows.to(like.device, like.dtype)


def _device(generator: torch.Generator | None, like: Tensor) -> torch.device:
    return generator.device if generator is not None else like.device


VAES = {"AutoencoderKL": AutoencoderKL, "PatchVAE": PatchVAE}


def load_vae(folder: Path, dtype: torch.dtype = torch.float32) -> AutoencoderKL | PatchVAE:
    """The VAE saved in `folder`; its config.json says which class. Raises CodecError as `load_part`."""
    return load_part(folder, VAES, "VAE", dtype)
