"""A linear mel VAE: the principal components of small mel patches.

A log-mel changes slowly over time and frequency (its windows overlap sixfold, its low bands overlap too), so eight of
the sixteen principal components of 4 x 4 patches hold nearly all of it. Analysis and synthesis are one strided
convolution each, fitted in closed form; shapes and surface are those of diffusers' AutoencoderKL.

    z_k = v_k . (patch - mean) / std_k^w        patch = mean + sum_k v_k std_k^w z_k

with unit eigenvectors v_k of the patches' covariance, std_k the deviation along v_k, and w the whitening: 0 keeps the
components' deviations, 1 makes them equal.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .errors import CodecError
from .library import (
    AutoencoderKLOutput,
    ConfigMixin,
    DecoderOutput,
    DiagonalGaussianDistribution,
    ModelMixin,
    register_to_config,
)

NO_NOISE = -30.0  # log-variance of a posterior that is a point; the smallest that the distribution class allows


class PatchVAE(ModelMixin, ConfigMixin):
    """Log-mels [B, 1, T, mels] <-> latents [B, latent_channels, T / patch_size, mels / patch_size]."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, patch_size: int = 4, latent_channels: int = 8) -> None:
        super().__init__()
        if not 0 < latent_channels <= patch_size**2:
            raise CodecError(f"{latent_channels} channels cannot be had of patches of {patch_size**2} values")
        self.analysis = nn.Conv2d(1, latent_channels, patch_size, stride=patch_size)
        self.synthesis = nn.ConvTranspose2d(latent_channels, 1, patch_size, stride=patch_size)

    @torch.no_grad()
    def fit(self, mel: Tensor, whitening: float = 0.5) -> PatchVAE:
        """Set both convolutions from the patches of `mel` [B, 1, T, mels]; returns self."""
        size, channels = self.config.patch_size, self.config.latent_channels
        patches = nn.functional.unfold(mel.double(), size, stride=size).transpose(1, 2).flatten(0, 1)  # [N, size²]
        mean = patches.mean(0)
        variances, vectors = torch.linalg.eigh(torch.cov(patches.T))  # rising
        vectors = vectors.flip(1)[:, :channels].T
        # An eigenvector's sign is arbitrary: the first component shall rise with the level.
        vectors = torch.where(vectors.sum(1, keepdim=True) < 0, -vectors, vectors)
        gains = variances.flip(0)[:channels].clamp_min(1e-12).sqrt().pow(whitening)[:, None]
        self.analysis.weight.copy_((vectors / gains).reshape(channels, 1, size, size))
        self.analysis.bias.copy_(-(vectors / gains) @ mean)
        self.synthesis.weight.copy_((vectors * gains).reshape(channels, 1, size, size))
        # The bias is one number for the patch, so the mean's shape within it, a fraction of a percent, is left out.
        self.synthesis.bias.copy_(mean.mean())
        return self

    def encode(self, mel: Tensor) -> AutoencoderKLOutput:
        """The latents of `mel` as a posterior without noise; frames and bands beyond whole patches are cut."""
        mean = self.analysis(mel)
        return AutoencoderKLOutput(
            latent_dist=DiagonalGaussianDistribution(torch.cat((mean, torch.full_like(mean, NO_NOISE)), dim=1))
        )

    def decode(self, latents: Tensor) -> DecoderOutput:
        """Log-mels [B, 1, T, mels] of `latents`."""
        return DecoderOutput(sample=self.synthesis(latents))
