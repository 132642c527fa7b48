"""One distillation step of SoundCTM: what is drawn, and the losses that follow from it."""

from soundctm.distillation.config import DistillationConfig
from soundctm.distillation.draws import Draws, draw
from soundctm.distillation.step import Distillation, Losses

__all__ = ["DistillationConfig", "Distillation", "Draws", "Losses", "draw"]
