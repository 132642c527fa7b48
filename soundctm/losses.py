"""Losses of the distillation, one value per sample [B]; the caller takes the mean.

Consistency: how far the student's estimate lies from its target, in latents or in the teacher's features.
Denoising: the EDM denoising score matching loss that keeps the student's g_theta(z, t, t) a denoiser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

WINDOWS = (4, 8, 16)  # frames of latents: 0.16 to 0.64 s
LEAST = 0.02  # magnitude below which a channel counts as silent
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


def feature_distance(estimate: Sequence[torch.Tensor], target: Sequence[torch.Tensor], axis: int = 1) -> torch.Tensor:
    """Squared difference of maps [B, ...] of unit length over `axis`, averaged per map, summed over maps: [B]."""
    losses = [mean_flat((_unit(a, axis) - _unit(b, axis)) ** 2) for a, b in zip(estimate, target, strict=True)]
    return torch.stack(losses).sum(0)


def texture_distance(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How far the short-time spectra of latents [B, C, T] or [B, C, T, F] along T lie apart, in magnitude: [B].

    The mean difference over windows of WINDOWS frames (or T, where that is less), every channel in units of its
    target's mean magnitude. A student blurs what it cannot predict place by place, the grain of rain or of applause,
    because the blurred estimate is the nearest one. Its magnitudes there are those of silence; this asks for the
    target's.
    """
    parts = []
    estimate, target = (z if z.ndim == 4 else z[..., None] for z in (estimate, target))
    for frames in WINDOWS:
        found, wanted = (_magnitudes(z, min(frames, z.shape[2])) for z in (estimate, target))
        scale = wanted.mean((2, 3, 4)) + LEAST
        parts.append(((found - wanted).abs().mean((2, 3, 4)) / scale).mean(1))
    return torch.stack(parts).mean(0)


def balance(consistency: torch.Tensor, denoising: torch.Tensor, highest: float = 1000.0) -> torch.Tensor:
    """The adaptive weight of the denoising loss from the norms of both gradients at the output layer (0-dim).

    |grad consistency| / (|grad denoising| + 1e-8), in [0, highest] (VQGAN's rule, CTM eq. 22).
    """
    return (consistency / (denoising + 1e-8)).clamp(0.0, highest)


def _unit(features: torch.Tensor, axis: int) -> torch.Tensor:
    features = features.float()
    return features / ((features**2).sum(axis, keepdim=True).sqrt() + 1e-10)


def _magnitudes(z: torch.Tensor, frames: int) -> torch.Tensor:
    """[B, C, T, F] -> [B, C, F, windows, bins]: Hann windows that overlap by half, of unit energy."""
    window = torch.hann_window(frames, device=z.device)
    pieces = z.float().transpose(2, 3).unfold(3, frames, frames // 2) * (window / window.norm())
    spectra = torch.view_as_real(torch.fft.rfft(pieces))
    return (spectra.square().sum(-1) + 1e-8).sqrt()


LATENT_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "l2": l2,
    "l1": l1,
    "ictm": pseudo_huber,
}
