"""Gaussian data with a known answer: z_0 ~ N(mu, std^2) has a closed-form denoiser and ODE flow."""

import torch

from soundctm.schedule import append_dims

MU, STD = 0.1, 0.25


def gaussian_denoiser(z: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[z_0 | z_sigma]."""
    sigma = append_dims(sigma, z.ndim)
    return (STD**2 * z + sigma**2 * MU) / (STD**2 + sigma**2)


def flow(z: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """The exact flow map from level t to s of the probability-flow ODE."""
    t, s = append_dims(t, z.ndim), append_dims(s, z.ndim)
    return MU + (z - MU) * ((STD**2 + s**2) / (STD**2 + t**2)).sqrt()
