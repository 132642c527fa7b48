"""Noise levels: the sigma grid, the EDM scalings and the loss weights.

sigma is the standard deviation of the noise in z_sigma = z_0 + sigma * eps. A jump goes from level t down to level s.
Sources: EDM (Karras et al. 2022, eq. 5 and table 1), CTM (Kim et al. 2024, lemma 1), SoundCTM (section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

WEIGHTINGS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "uniform": lambda sigma, sigma_data: torch.ones_like(sigma),
    "snr": lambda sigma, sigma_data: sigma**-2,
    "sq-snr": lambda sigma, sigma_data: 1 / sigma,
    "snr+1": lambda sigma, sigma_data: sigma**-2 + 1,
    "truncated-snr": lambda sigma, sigma_data: (sigma**-2).clamp(min=1.0),
    "karras": lambda sigma, sigma_data: sigma**-2 + sigma_data**-2,
    "karras_weight": lambda sigma, sigma_data: (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2,
    "sq-t-inverse": lambda sigma, sigma_data: sigma**0.5,
}


def append_dims(values: torch.Tensor, ndim: int) -> torch.Tensor:
    """[B] (or 0-dim) -> [B, 1, ..., 1] with `ndim` dimensions, to scale a batch sample by sample."""
    return values.reshape(values.shape + (1,) * (ndim - values.ndim)) if values.ndim else values


@dataclass(frozen=True)
class SigmaSchedule:
    """The range of noise levels, the warp of the grid between them, and the spread of the clean latents."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    sigma_data: float = 0.25

    def __post_init__(self) -> None:
        """Raises ValueError for values that make no falling grid."""
        values = (self.sigma_min, self.sigma_max, self.rho, self.sigma_data)
        if not (all(0 < value <= 1e6 for value in values) and self.sigma_min < self.sigma_max and self.rho <= 1000):
            raise ValueError(
                f"sigma_min {self.sigma_min}, sigma_max {self.sigma_max}, rho {self.rho} and sigma_data "
                f"{self.sigma_data} are no noise levels; all lie above 0, sigma_min below sigma_max, rho up to 1000"
            )

    def at(self, fraction: torch.Tensor) -> torch.Tensor:
        """Noise level at a fraction of the way down: 0 is sigma_max, 1 is sigma_min (EDM eq. 5, continuous)."""
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return (high + fraction * (low - high)) ** self.rho

    def fraction(self, sigma: float) -> float:
        """How far down a noise level lies: the inverse of `at`."""
        high, low = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return (high - sigma ** (1 / self.rho)) / (high - low)

    def grid(self, scales: int, dtype: torch.dtype = torch.float32, strength: float = 1.0) -> torch.Tensor:
        """The `scales` >= 2 noise levels from sigma_max down to sigma_min, shape [scales].

        An n-step sampler jumps along grid(n + 1); training draws from grid(40). With a `strength` below 1 the levels
        start that share of the way above sigma_min: 1 is sigma_max, 0 is sigma_min throughout.
        """
        if scales < 2:
            raise ValueError(f"a grid needs at least 2 scales, not {scales}")
        return self.at((1 - strength) + strength * (torch.arange(scales, dtype=torch.float64) / (scales - 1))).to(dtype)

    def c_in(self, sigma: torch.Tensor) -> torch.Tensor:
        """Scale that gives the network input unit variance."""
        return (sigma**2 + self.sigma_data**2) ** -0.5

    def c_skip(self, sigma: torch.Tensor) -> torch.Tensor:
        """Share of the noisy input in the denoised output."""
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def c_out(self, sigma: torch.Tensor) -> torch.Tensor:
        """Scale of the network output in the denoised output."""
        return sigma * self.sigma_data * (sigma**2 + self.sigma_data**2) ** -0.5

    def weight(self, name: str, t: torch.Tensor, s: torch.Tensor | None = None) -> torch.Tensor:
        """Loss weight per sample at level t (`uniform_g` also looks at s), by its official name; see WEIGHTINGS."""
        if name == "uniform_g":
            if s is None:
                raise ValueError("the weight 'uniform_g' needs s")
            return 1 / (1 - s / t)
        if name not in WEIGHTINGS:
            raise ValueError(f"no weighting {name!r}; known are {', '.join(WEIGHTINGS)}, uniform_g")
        return WEIGHTINGS[name](t, self.sigma_data)


def network_time(sigma: torch.Tensor) -> torch.Tensor:
    """What the networks see of a noise level: ln(sigma) / 4."""
    return sigma.log() / 4
