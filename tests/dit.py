"""The small transformer of the goldens, filled by their rule through the official key names, behind denoisers.

The same names as in `nets`, so that a test may run over both (`backbones`).
"""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import torch
from helpers import GOLDENS, tensor_for
from safetensors.torch import load_file

from soundctm.checkpoints.official.dit_keys import BUFFERS, from_official, inverse_frequencies, to_official
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.networks.dit import StudentDiT, TeacherDiT
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextConditioning

FOLDER = GOLDENS / "dit"
NAME, STUDENT, TARGET = "dit", 1202, 1303
DISTILLATION = {"denoising_weight": 0.2, "w_min": 1.0, "w_max": 10.0}  # of the goldens
OMEGA = 5.0  # of the samplers' goldens
DEPTHS = {"full": ""}  # of the feature loss: what its golden's name says of them
SCHEDULE = SigmaSchedule(sigma_data=0.5)
CONFIG = {
    "sample_size": 24,
    "num_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_attention_heads": 2,
    "cross_attention_dim": 128,
    "cross_attention_input_dim": 128,
}
SMALLER = {**CONFIG, "num_layers": 1}  # for what needs no golden


def golden(name: str) -> dict[str, torch.Tensor]:
    """All tensors of tests/goldens/dit/<name>.safetensors."""
    return load_file(FOLDER / f"{name}.safetensors")


def golden_meta(name: str) -> dict:
    """Settings with which a golden was made."""
    return json.loads((FOLDER / "index.json").read_text())[name]["meta"]


def filled(key: str, shape, seed: int) -> torch.Tensor:
    """An official tensor by the fill rule; buffers are what they are in the files: zeros, and the rotary table."""
    if key.endswith(".beta"):
        return torch.zeros(tuple(shape))
    if BUFFERS.search(key):
        return inverse_frequencies(2 * shape[0])
    if key.endswith(".alpha"):  # of a Snake: (1, C, 1), filled as (C,)
        return torch.from_numpy(tensor_for(key, (int(np.prod(shape)),), seed).reshape(tuple(shape)))
    value = tensor_for(key, tuple(shape), seed)
    if key.endswith(".weight_g"):
        value = (value.astype(np.float64) * 0.75).astype(np.float32)
    return torch.from_numpy(value)


def fill(network: torch.nn.Module, seed: int, prefix: str = "dit.") -> torch.nn.Module:
    """Our network with the official weights of `seed`."""
    shapes = {key: value.shape for key, value in to_official(network.state_dict()).items()}
    state = {key: filled(prefix + key, shape, seed) for key, shape in shapes.items()}
    network.load_state_dict(from_official(state))
    return network


def new_teacher(seed: int = 1101, config: dict = CONFIG) -> TeacherDenoiser:
    """A frozen small teacher."""
    network = fill(TeacherDiT.from_config(config), seed)
    return TeacherDenoiser(network, SCHEDULE).eval().requires_grad_(False)


def new_student(seed: int = STUDENT, config: dict = CONFIG) -> StudentDenoiser:
    """A small student or target, to be trained on text of one token."""
    network = fill(StudentDiT.from_config(config), seed)
    for parameter in network.idle_parameters(one_token=True):
        parameter.requires_grad_(False)
    return StudentDenoiser(network, SCHEDULE).eval()


# Those that tests share and do not change.
teacher = lru_cache(new_teacher)
student = lru_cache(lambda seed=STUDENT: new_student(seed).requires_grad_(False))


def text(g: dict[str, torch.Tensor], rows: torch.Tensor | None = None) -> TextConditioning:
    """Stored vectors as one token each; the `prompt` rows unless others are given."""
    rows = g["prompt"] if rows is None else rows
    hidden = g["text.embedding"][rows][:, None]
    return TextConditioning(hidden, torch.ones(hidden.shape[:2], dtype=torch.bool))


def empty(g: dict[str, torch.Tensor], batch: int) -> TextConditioning:
    """The empty prompt for a batch."""
    return text(g, torch.zeros(batch, dtype=torch.long))


def official(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights under the names of the goldens."""
    return to_official(network.state_dict())


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients under those names; zeros where there is none."""
    given = {k: p.grad if p.grad is not None else torch.zeros_like(p) for k, p in network.named_parameters()}
    return to_official(given)
