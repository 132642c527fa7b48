"""The small UNets of the goldens, filled by the rule, behind denoisers. `dit` has the same names."""

from __future__ import annotations

from functools import lru_cache

import torch
from helpers import UNET_CONFIG, fill_state_dict_, golden, golden_meta

from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextConditioning

__all__ = ["golden", "golden_meta"]  # and what is below

NAME, STUDENT, TARGET = "unet", 202, 303
DISTILLATION: dict[str, float] = {}  # of the goldens: the defaults
OMEGA = 3.5  # of the samplers' goldens
DEPTHS = {"full": ".full", "half": ".half"}  # of the feature loss: what its golden's name says of them
SCHEDULE = SigmaSchedule()
SMALLER = {  # for what needs no golden: two levels, a tenth of the time
    **UNET_CONFIG,
    "block_out_channels": [32, 32],
    "attention_head_dim": [2, 2],
    "layers_per_block": 1,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}


def new_teacher(seed: int = 101, config: dict = UNET_CONFIG) -> TeacherDenoiser:
    """A frozen small teacher with the goldens' weights."""
    unet = fill_state_dict_(TeacherUNet.from_config(config), seed=seed, prefix="unet.")
    return TeacherDenoiser(unet, SCHEDULE).eval().requires_grad_(False)


def new_student(seed: int = STUDENT, config: dict = UNET_CONFIG) -> StudentDenoiser:
    """A small student (202) or target (303) with the goldens' weights."""
    unet = fill_state_dict_(StudentUNet.from_config(config), seed=seed, prefix="ctm_unet.")
    return StudentDenoiser(unet, SCHEDULE).eval()


# Those that tests share and do not change.
teacher = lru_cache(new_teacher)
student = lru_cache(lambda seed=STUDENT: new_student(seed).requires_grad_(False))


def text(g: dict[str, torch.Tensor], rows: torch.Tensor | None = None) -> TextConditioning:
    """The stored text rows of a golden; its `prompt` rows unless others are given."""
    rows = g["prompt"] if rows is None else rows
    return TextConditioning(g["text.hidden"][rows], g["text.mask"][rows])


def empty(g: dict[str, torch.Tensor], batch: int) -> TextConditioning:
    """The empty prompt for a batch."""
    return text(g, torch.zeros(batch, dtype=torch.long))


def official(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights under the names of the goldens."""
    return network.state_dict()


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients under those names."""
    return {name: parameter.grad for name, parameter in network.named_parameters()}
