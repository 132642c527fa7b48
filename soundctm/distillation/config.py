"""The knobs of one distillation step; defaults are the released configuration."""

from __future__ import annotations

from dataclasses import dataclass

from soundctm.config import option
from soundctm.errors import UserError
from soundctm.losses import LATENT_LOSSES
from soundctm.networks.base import DEPTHS
from soundctm.precision import FROZEN
from soundctm.schedule import WEIGHTINGS
from soundctm.solver import SOLVERS

WEIGHTS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class DistillationConfig:
    """What a step draws, how it scores the student, and how it computes."""

    start_scales: int = option(40, "noise levels of the training grid", aliases=("scales",))
    end_scales: int = option(40, "progressive: noise levels at the end of the training")
    scale_mode: str = option("fixed", "noise levels over the training", choices=("fixed", "progressive"))
    start_ema: float = option(0.999, "decay of the target, which is also the model that is shipped", aliases=("ema",))
    target_ema_mode: str = option("fixed", "that decay over the training", choices=("fixed", "adaptive"))
    time_continuous: bool = option(False, "draw t, u and s anywhere between the levels of the grid")
    num_heun_step: int = option(39, "most solver steps from t to u (all, when they are not drawn)")
    num_heun_step_random: bool = option(True, "draw the number of solver steps per training step")
    heun_step_strategy: str = option("weighted", "how it is drawn", choices=("weighted", "uniform"))
    heun_step_multiplier: float = option(1.0, "weighted: probability of k steps is proportional to k to this power")
    sample_s_strategy: str = option("uniform", "s: uniform in u .. sigma_min, or it", choices=("uniform", "smallest"))
    uniform_sampled_cfg_distill: bool = option(
        True, "draw omega per sample; false is no guidance at all", aliases=("unform_sampled_cfg_distill",)
    )
    w_min: float = option(2.0, "lowest guidance scale omega drawn", aliases=("omega_min",))
    w_max: float = option(5.0, "highest guidance scale omega drawn", aliases=("omega_max",))
    cfg_single_distill: bool = option(False, "one omega for all samples, single_target_cfg")
    single_target_cfg: float = option(3.5, "that omega")
    loss_type: str = option("feature_space", "consistency loss", choices=("feature_space", *LATENT_LOSSES))
    texture_weight: float = option(
        0.0, "weight of the latents' short-time spectra in the consistency loss; not official"
    )
    match_point: str = option("zs", "where estimate and target meet", choices=("zs", "z0"))
    unet_mode: str = option(
        "full",
        "teacher blocks compared by feature_space: all as officially, half of them, or all chained (of a transformer)",
        choices=DEPTHS,
    )
    weight_schedule: str = option(
        "uniform", "weight of the consistency loss by level", choices=(*WEIGHTINGS, "uniform_g")
    )
    consistency_weight: float = option(1.0, "factor of the consistency loss")
    diffusion_training: bool = option(True, "add the denoising loss")
    denoising_weight: float = option(1.0, "factor of the denoising loss")
    diffusion_weight_schedule: str = option(
        "karras_weight", "weight of the denoising loss by level", choices=tuple(WEIGHTINGS)
    )
    diffusion_schedule_sampler: str = option(
        "halflognormal",
        "levels of the denoising loss; half of them are uniform",
        choices=("halflognormal", "lognormal"),
    )
    diffusion_mult: float = option(0.7, "share of the grid, from sigma_max, that the uniform half is drawn from")
    dsm_loss_target: str = option("z_0", "what g regresses to", choices=("z_0", "z_target"))
    apply_adaptive_weight: bool = option(True, "balance the denoising loss by gradient norms at the output layer")
    solver: str = option("heun", "teacher's solver; multistep needs about half the calls", choices=tuple(SOLVERS))
    trajectories: int = option(
        0,
        "teacher's trajectories solved once, kept in cache_dir and learned from again and again; 0: new ones each step",
    )
    frozen_precision: str = option("auto", "of teacher and target; auto is the run's precision", choices=FROZEN)
    teacher_weights: str = option(
        "float32", "the teacher is kept and computed in this format, whatever frozen_precision", choices=WEIGHTS
    )
    graph_teacher: bool = option(False, "CUDA graphs for the teacher in the solver: no time between its kernels")
    channels_last: bool | None = option(None, "memory format of the networks; none is channels_last on a GPU only")
    compile_frozen: bool = option(False, "torch.compile teacher and target, where nearly all the time goes")
    gradient_checkpointing: bool = option(False, "recompute activations of the student: less memory, more time")

    def __post_init__(self) -> None:
        most = self.start_scales
        if most < 2:
            raise UserError(f"start_scales is {most}; a grid has at least 2 levels")
        if self.scale_mode == "progressive":
            if self.end_scales < most:
                raise UserError(f"end_scales is {self.end_scales}; progressive scales grow from start_scales, {most}")
            most = self.end_scales
        elif self.target_ema_mode == "adaptive":
            raise UserError("target_ema_mode adaptive follows the number of scales; it needs scale_mode progressive")
        if not 1 <= self.num_heun_step < most:
            raise UserError(f"num_heun_step is {self.num_heun_step}; with {most} scales it is 1 to {most - 1}")
        if self.trajectories and (self.time_continuous or self.scale_mode == "progressive"):
            raise UserError("trajectories are solved on one grid; leave time_continuous off and scale_mode fixed")
        if self.trajectories < 0:
            raise UserError(f"trajectories is {self.trajectories}; it is 0 or the number of trajectories")
        if not 0 < self.start_ema <= 1:
            raise UserError(f"start_ema is {self.start_ema}; a decay is in (0, 1]")
        if not 0 <= self.w_min <= self.w_max:
            raise UserError(f"omega is drawn from [{self.w_min}, {self.w_max}]; it must be 0 <= w_min <= w_max")
        if self.cfg_single_distill and self.single_target_cfg < 0:
            raise UserError(f"single_target_cfg is {self.single_target_cfg}; omega is 0 or more")
        if not 0 < self.diffusion_mult <= 1:
            raise UserError(f"diffusion_mult is {self.diffusion_mult}; it is a share in (0, 1]")
        if self.consistency_weight <= 0:
            raise UserError(f"consistency_weight is {self.consistency_weight}; it must be above 0")
        if self.texture_weight < 0:
            raise UserError(f"texture_weight is {self.texture_weight}; it must be 0 or more")
        if self.denoising_weight < 0:
            raise UserError(f"denoising_weight is {self.denoising_weight}; it must be 0 or more")
