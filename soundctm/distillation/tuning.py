"""How the networks of a step compute: memory format, compilation, recomputed activations; results stay the same."""

from __future__ import annotations

import copy

import torch

from soundctm.acceleration.compiling import pad_text
from soundctm.acceleration.graphs import Graphs
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.distillation.config import DistillationConfig


def tune(
    config: DistillationConfig,
    teacher: TeacherDenoiser,
    student: StudentDenoiser,
    target: StudentDenoiser,
    backend: str = "inductor",
    graphs: Graphs | None = None,
) -> None:
    """Prepare the networks in place, once they are on their device and before they are wrapped for several processes.

    The names of their weights stay. `backend` is torch.compile's. Compiled are only calls without a gradient, of the
    teacher in the solver and of the target: some 85 of 90 network calls of an official step. A teacher in another
    format is a copy, and the network that was given goes to the CPU as it is. `graphs` may record with something else
    than CUDA.
    """
    if config.teacher_weights != "float32":
        given = teacher.network
        # nn.Module.to, because diffusers' own `to` warns at every change of precision
        teacher.network = torch.nn.Module.to(copy.deepcopy(given), getattr(torch, config.teacher_weights))
        given.to("cpu")
    device = student.network.last_weight.device
    channels_last = device.type == "cuda" if config.channels_last is None else config.channels_last
    if channels_last:
        for network in (teacher, student, target):
            network.to(memory_format=torch.channels_last)
    if config.gradient_checkpointing:
        student.network.enable_gradient_checkpointing()
        teacher.network.enable_gradient_checkpointing()  # it is passed through for the estimate's features
    if config.compile_frozen:
        teacher.network.compile(backend=backend)
        target.network.compile(backend=backend)
    if config.graph_teacher:
        teacher.forward = (graphs or Graphs()).of("teacher", teacher.forward, pad_text)
