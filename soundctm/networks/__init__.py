"""Backbones of teacher and student: a UNet on diffusers' UNet2DConditionModel, a transformer on StableAudioDiTModel.

A configuration names its backbone in `_class_name`; one without that name is a UNet's, as diffusers' own files are.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from soundctm.errors import UserError
from soundctm.networks.base import Depth, Network, StudentNetwork, TeacherNetwork
from soundctm.networks.dit import StudentDiT, TeacherDiT
from soundctm.networks.features import feature_maps
from soundctm.networks.unet import StudentUNet, TeacherUNet, guidance_embedding


class Backbone(NamedTuple):
    """The two classes of one kind of network."""

    teacher: type[TeacherNetwork]
    student: type[StudentNetwork]


BACKBONES = {"unet": Backbone(TeacherUNet, StudentUNet), "dit": Backbone(TeacherDiT, StudentDiT)}


def backbone(config: Mapping[str, Any], source: str) -> Backbone:
    """The backbone that a configuration read from `source` names. Raises UserError when there is none of that name."""
    name = config.get("_class_name", "UNet2DConditionModel")
    if name == "UNet2DConditionModel":
        return BACKBONES["unet"]
    for kind in BACKBONES.values():
        if name in (kind.teacher.__name__, kind.student.__name__):
            return kind
    known = ", ".join(kind.student.__name__ for kind in BACKBONES.values())
    raise UserError(f"{source} names the network {name}; known are {known}")


__all__ = [
    "BACKBONES",
    "Backbone",
    "Depth",
    "Network",
    "StudentDiT",
    "StudentNetwork",
    "StudentUNet",
    "TeacherDiT",
    "TeacherNetwork",
    "TeacherUNet",
    "backbone",
    "feature_maps",
    "guidance_embedding",
]
