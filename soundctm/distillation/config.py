"""The knobs of one distillation step; defaults are the released configuration."""

from __future__ import annotations

from dataclasses import dataclass

from soundctm.config import option
from soundctm.errors import UserError
from soundctm.losses import LATENT_LOSSES
from soundctm.schedule import WEIGHTINGS


@dataclass(frozen=True)
class DistillationConfig:
    """What a step draws and how it scores the student."""

    start_scales: int = option(40, "noise levels of the training grid", aliases=("scales",))
    num_heun_step: int = option(39, "most solver steps from t to u (all, when they are not drawn)")
    num_heun_step_random: bool = option(True, "draw the number of solver steps per training step")
    heun_step_strategy: str = option("weighted", "how it is drawn", choices=("weighted", "uniform"))
    heun_step_multiplier: float = option(1.0, "weighted: probability of k steps is proportional to k to this power")
    w_min: float = option(2.0, "lowest guidance scale omega drawn", aliases=("omega_min",))
    w_max: float = option(5.0, "highest guidance scale omega drawn", aliases=("omega_max",))
    loss_type: str = option("feature_space", "consistency loss", choices=("feature_space", *LATENT_LOSSES))
    match_point: str = option("zs", "where estimate and target meet", choices=("zs", "z0"))
    unet_mode: str = option("full", "teacher blocks compared by feature_space", choices=("full", "half"))
    weight_schedule: str = option("uniform", "weight of the consistency loss", choices=(*WEIGHTINGS, "uniform_g"))
    diffusion_training: bool = option(True, "add the denoising loss")
    diffusion_weight_schedule: str = option("karras_weight", "weight of the denoising loss", choices=tuple(WEIGHTINGS))
    diffusion_mult: float = option(0.7, "share of the grid, from sigma_max, that half of its levels are drawn from")
    dsm_loss_target: str = option("z_0", "what g regresses to", choices=("z_0", "z_target"))
    apply_adaptive_weight: bool = option(True, "balance the denoising loss by gradient norms at the output layer")

    def __post_init__(self) -> None:
        if self.start_scales < 2:
            raise UserError(f"start_scales is {self.start_scales}; a grid has at least 2 levels")
        if not 1 <= self.num_heun_step < self.start_scales:
            raise UserError(
                f"num_heun_step is {self.num_heun_step}; with {self.start_scales} scales it is 1 to "
                f"{self.start_scales - 1}"
            )
        if not 0 <= self.w_min <= self.w_max:
            raise UserError(f"omega is drawn from [{self.w_min}, {self.w_max}]; it must be 0 <= w_min <= w_max")
        if not 0 < self.diffusion_mult <= 1:
            raise UserError(f"diffusion_mult is {self.diffusion_mult}; it is a share in (0, 1]")
