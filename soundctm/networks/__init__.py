"""Backbones of teacher and student: a UNet on diffusers' UNet2DConditionModel, a transformer on StableAudioDiTModel.

A configuration names its backbone in `_class_name`; one without that name is a UNet's, as diffusers' own files are.
"""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from soundctm.errors import UserError
from soundctm.networks.base import Depth, Network, StudentNetwork, TeacherNetwork
from soundctm.networks.features import feature_maps
from soundctm.networks.unet import StudentUNet, TeacherUNet, guidance_embedding


class Backbone(NamedTuple):
    """The two classes of one kind of network."""

    teacher: type[TeacherNetwork]
    student: type[StudentNetwork]


MODULES = {"UNet": "soundctm.networks.unet", "DiT": "soundctm.networks.dit"}  # imported when they are asked for


def backbone(config: Mapping[str, Any], source: str) -> Backbone:
    """The backbone that a configuration read from `source` names. Raises UserError when there is none of that name."""
    name = config.get("_class_name", "UNet2DConditionModel")
    for kind, module in MODULES.items():
        if name in (f"Teacher{kind}", f"Student{kind}") or (kind == "UNet" and name == "UNet2DConditionModel"):
            classes = importlib.import_module(module)
            return Backbone(getattr(classes, f"Teacher{kind}"), getattr(classes, f"Student{kind}"))
    known = ", ".join(f"Student{kind}" for kind in MODULES)
    raise UserError(f"{source} names the network {name}; known are {known}")


__all__ = [
    "Backbone",
    "Depth",
    "Network",
    "StudentNetwork",
    "StudentUNet",
    "TeacherNetwork",
    "TeacherUNet",
    "backbone",
    "feature_maps",
    "guidance_embedding",
]
