"""Denoisers, solver and losses over the transformer, against the official numbers: the same code as over the UNet."""

import dit
import pytest
import torch
from dit import SCHEDULE, golden, student, teacher
from helpers import close

from soundctm import losses
from soundctm.denoisers import guided
from soundctm.solver import heun, last

C, D, E = golden("c_denoiser"), golden("d_heun"), golden("e_losses")
GRID = SCHEDULE.grid(40)


@torch.no_grad()
def test_denoisers():
    t, s, text = GRID[C["t_index"]], GRID[C["s_index"]], dit.text(C)
    close(GRID, C["grid.t"], 1e-6)
    close(teacher()(C["x_t"], t, text), C["teacher.D"], 2e-5)
    for name, model in (("student", student()), ("target", student(1303))):
        close(model.estimate(C["x_t"], t, s, text, C["omega"]), C[f"{name}.g"], 2e-5)
        close(model(C["x_t"], t, s, text, C["omega"]), C[f"{name}.G"], 2e-5)
    close(student().estimate(C["x_t"], t, t, text, C["omega"]), C["student.g_tt"], 2e-5)


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 3])
def test_heun(steps):
    text, empty = dit.text(D), dit.empty(D, 2)
    sigmas = GRID[D["index"] + torch.arange(steps + 1)[:, None]]
    close(last(heun(lambda z, sigma: teacher()(z, sigma, text), D["x_t"], sigmas)), D[f"heun.{steps}"], 0, 5e-5)
    found = last(heun(guided(teacher(), text, empty, D["guidance"]), D["x_t"], sigmas))
    close(found, D[f"heun_cfg.{steps}"], 0, 5e-5)


@pytest.mark.parametrize("point", ["zs", "z0"])
def test_feature_loss(point):
    level = E["s"] if point == "zs" else torch.full_like(E["s"], SCHEDULE.sigma_min)
    estimate, text = E["estimate"].clone().requires_grad_(), dit.text(E)
    with torch.no_grad():
        wanted = teacher().features(E["target"], level, text, "full")
    loss = losses.feature_distance(teacher().features(estimate, level, text, "full"), wanted, 1)
    reference = E[f"feature.{point}.loss"]
    close(loss.detach() * E["weights"], reference, 2e-5)
