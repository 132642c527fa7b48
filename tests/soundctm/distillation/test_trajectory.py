"""Golden g of both backbones: whole training iterations, every draw given, against the official loop."""

import pytest
import torch
from backbones import BACKBONES
from helpers import close, golden, golden_meta

from soundctm.distillation import Distillation, DistillationConfig, Draws
from soundctm.ema import update_ema
from soundctm.training.tasks.task import trained_parameters

CASES = [("unet", "g_trajectory"), ("unet", "g_trajectory_fast"), ("dit", "g_trajectory_fast")]
ROUNDING = 2e-8  # of a parameter near 1, in an average of itself


def given_draws(g, i) -> Draws:
    take = lambda name: g[f"step{i}.{name}"]  # noqa: E731
    return Draws(
        int(take("num_heun_step")), take("t_index"), take("s_index"), take("omega"), take("noise"),
        take("dsm.sigma"), take("dsm.noise"),
    )  # fmt: skip


def clean_latents(g, i) -> torch.Tensor:
    """Of step i; the transformer's golden begins at those of the autoencoder."""
    if f"step{i}.x_start" in g:
        return g[f"step{i}.x_start"]
    mean, std = g["z_mean"][:, None], g["z_std"][:, None]
    return 0.5 * (g[f"step{i}.z"] - mean) / std


@pytest.mark.parametrize(("backbone", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_trajectory(backbone, name):
    net = BACKBONES[backbone]
    g, meta = net.golden(name), net.golden_meta(name)
    student, target = net.new_student(), net.new_student().requires_grad_(False)
    start = {k: v.clone() for k, v in net.official(student.network).items()}
    step = Distillation(net.teacher(), student, target, DistillationConfig(**net.DISTILLATION))
    optimizer = torch.optim.RAdam(trained_parameters(student), lr=meta["lr"], weight_decay=meta["weight_decay"])
    for i in range(meta["iterations"]):
        prompt, empty = net.text(g, g[f"step{i}.prompt"]), net.empty(g, len(g[f"step{i}.prompt"]))
        result = step(clean_latents(g, i), prompt, empty, given_draws(g, i))
        close(result.consistency.detach(), g[f"step{i}.consistency_loss"], 1e-4, 1e-8)
        close(result.balance, g[f"step{i}.balance"], 1e-4)
        close(result.denoising.detach(), g[f"step{i}.denoising_loss"], 1e-4)
        close(result.total.detach(), g[f"step{i}.loss"], 1e-4)
        optimizer.zero_grad()
        result.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), meta["clip"])
        close(norm, g[f"step{i}.grad_norm"], 3e-4)
        if i == 0:
            found = net.gradients(student.network)
            for key in (k for k in g if k.startswith("step0.grad.")):
                close(found[key.removeprefix("step0.grad.")][: len(g[key])], g[key], 3e-4)
        optimizer.step()
        update_ema(target, student, meta["ema"])
    for kind, model in (("student", student), ("target", target)):
        found = net.official(model.network)
        for key in (k for k in g if k.startswith("student.") and k != "student.norm"):
            own, rows = key.removeprefix("student."), slice(len(g[key]))  # of some only the first rows are stored
            if name == "g_trajectory":
                close(found[own], g[f"{kind}.{own}"], 0, 1e-7)
            if name == "g_trajectory_fast":
                change = found[own][rows] - start[own][rows]
                close(change, g[f"{kind}_change.{own}"], 1e-2, ROUNDING if kind == "target" else 0)
    if "student.norm" in g:
        ends = net.official(student.network)
        change = torch.stack([(ends[k] - start[k]).double().norm() for k in start]).norm()
        close(change, g["student.norm"], 1e-2)


def test_radam_and_ema():
    g, meta = golden("g_radam_ema"), golden_meta("g_radam_ema")
    online, average = torch.nn.Linear(7, 5, bias=False), torch.nn.Linear(7, 5, bias=False)
    online.weight.data.copy_(g["start"])
    average.weight.data.copy_(g["start"])
    optimizer = torch.optim.RAdam(online.parameters(), lr=meta["lr"])
    for i in range(12):
        online.weight.grad = g["grad"][i].clone()
        optimizer.step()
        update_ema(average, online, meta["ema"])
        close(online.weight.detach(), g["param"][i], 0, 1e-7)
        close(average.weight.detach(), g["ema"][i], 0, 1e-7)
