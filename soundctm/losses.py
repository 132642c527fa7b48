"""Losses of the distillation, one value per sample [B]; the caller takes the mean.

Consistency: how far the student's estimate lies from its target, in latents or in the teacher's features.
Denoising: the EDM denoising score matching loss that keeps the student's g_theta(z, t, t) a denoiser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

PSEUDO_HUBER_C = 0.00054  # times sqrt(number of values per sample): Song & Dhariwal 2023, section 3.3


def mean_flat(values: torch.Tensor) -> torch.Tensor:
    """Mean over everything but the batch: [B, ...] -> [B]."""
    return values.flatten(1).mean(1)


def l2(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared difference."""
    return mean_flat((estimate - target) ** 2)


def l1(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference."""
    return mean_flat((estimate - target).abs())


def pseudo_huber(estimate: torch.Tensor, target: torch.Tensor, values: int | None = None) -> torch.Tensor:
    """sqrt(d^2 + c^2) - c with c = 0.00054 sqrt(values); `values` is the number per sample unless given.

    The official code (`ictm`) takes 8 * 16 * 256 from its arguments, whatever the latents are.
    """
    c = PSEUDO_HUBER_C * (values or estimate[0].numel()) ** 0.5
    return mean_flat(((estimate - target) ** 2 + c**2).sqrt() - c)


def feature_distance(estimate: Sequence[torch.Tensor], target: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared difference of maps [B, C, ...] of unit length over channels, averaged per map, summed over maps."""
    losses = [mean_flat((_unit(a) - _unit(b)) ** 2) for a, b in zip(estimate, target, strict=True)]
    return torch.stack(losses).sum(0)


def balance(consistency: torch.Tensor, denoising: torch.Tensor, highest: float = 1000.0) -> torch.Tensor:
    """The adaptive weight of the denoising loss from the norms of both gradients at the output layer (0-dim).

    |grad consistency| / (|grad denoising| + 1e-8), in [0, highest] (VQGAN's rule, CTM eq. 22).
    """
    return (consistency / (denoising + 1e-8)).clamp(0.0, highest)


def _unit(features: torch.Tensor) -> torch.Tensor:
    features = features.float()
    return features / ((features**2).sum(1, keepdim=True).sqrt() + 1e-10)


LATENT_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "l2": l2,
    "l1": l1,
    "ictm": pseudo_huber,
}
