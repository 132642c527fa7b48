"""One distillation step of SoundCTM: what is drawn, and the losses that follow from it."""

from soundctm.distillation.config import DistillationConfig
from soundctm.distillation.curriculum import scales_at, target_decay
from soundctm.distillation.draws import Draws, draw, draw_omega
from soundctm.distillation.official_flags import add_dead_flags
from soundctm.distillation.step import Distillation, Losses
from soundctm.distillation.tuning import tune

__all__ = [
    "DistillationConfig",
    "Distillation",
    "Draws",
    "Losses",
    "add_dead_flags",
    "draw",
    "draw_omega",
    "scales_at",
    "target_decay",
    "tune",
]
