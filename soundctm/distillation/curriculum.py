"""How the grid and the target's decay change over a training (consistency models, Song et al. 2023, appendix C).

    scales(p) = ceil(sqrt(p ((s_1 + 1)^2 - s_0^2) + s_0^2) - 1) + 1       progressive: from s_0 to s_1 + 1 levels
    decay(p)  = exp(s_0 ln(mu_0) / (scales(p) - 1))                       adaptive: as many updates per level

p is the share of the training that is done. The official code computes the number of scales and then never uses it, so
that there only the decay changes; here the grid follows it, as in the paper.
"""

from __future__ import annotations

import math

from soundctm.distillation.config import DistillationConfig


def scales_at(config: DistillationConfig, progress: float) -> int:
    """Levels of the grid when `progress` in [0, 1] of the training is done."""
    if config.scale_mode == "fixed":
        return config.start_scales
    return _steps(config, progress) + 1


def target_decay(config: DistillationConfig, progress: float) -> float:
    """Decay of the target's average when `progress` in [0, 1] of the training is done."""
    if config.target_ema_mode == "fixed":
        return config.start_ema
    return math.exp(config.start_scales * math.log(config.start_ema) / _steps(config, progress))


def _steps(config: DistillationConfig, progress: float) -> int:
    first, last = config.start_scales, config.end_scales
    done = min(1.0, progress)
    return max(1, math.ceil(math.sqrt(done * ((last + 1) ** 2 - first**2) + first**2) - 1))
