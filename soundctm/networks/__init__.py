"""Teacher and student UNets on diffusers' UNet2DConditionModel."""

from soundctm.networks.features import feature_maps
from soundctm.networks.unet import StudentUNet, TeacherUNet, guidance_embedding

__all__ = ["StudentUNet", "TeacherUNet", "feature_maps", "guidance_embedding"]
