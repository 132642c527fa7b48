"""Golden c of both backbones: sigma grid, scalings, weights, and the denoisers of teacher, student and target."""

import pytest
import torch
from backbones import BACKBONES, over_both
from helpers import close

from soundctm.denoisers import guided_jump
from soundctm.distillation import DistillationConfig
from soundctm.distillation.draws import denoising_levels, solver_step_probabilities
from soundctm.schedule import WEIGHTINGS

GOLDENS = {name: net.golden("c_denoiser") for name, net in BACKBONES.items()}
WEIGHTS = [
    (net, key.removeprefix("grid.weight."))
    for name, net in BACKBONES.items()
    for key in GOLDENS[name]
    if key.startswith("grid.weight.")
]


@over_both
def test_grid_and_scalings(net):
    c, schedule = GOLDENS[net.NAME], net.SCHEDULE
    t = schedule.grid(40)
    close(t, c["grid.t"], 2e-5)
    for steps in (1, 2, 4):
        close(schedule.grid(steps + 1), c[f"grid.sampler_{steps}"][:-1], 2e-5)
    for name in ("c_in", "c_skip", "c_out"):
        close(getattr(schedule, name)(t), c[f"grid.{name}"], 2e-5)
    close(c["grid.s"] / t, c["grid.gen_c_skip"], 2e-5)
    with pytest.raises(ValueError):
        schedule.grid(1)


def test_every_weighting_has_a_golden():
    assert {name for net, name in WEIGHTS if net.NAME == "unet"} == {*WEIGHTINGS, "uniform_g"}
    assert {name for net, name in WEIGHTS if net.NAME == "dit"} <= {*WEIGHTINGS}


@pytest.mark.parametrize(("net", "name"), WEIGHTS, ids=[f"{net.NAME}-{name}" for net, name in WEIGHTS])
def test_weightings(net, name):
    c = GOLDENS[net.NAME]
    t, s = net.SCHEDULE.grid(40), c["grid.s"]
    want = c[f"grid.weight.{name}"]
    got = net.SCHEDULE.weight(name, t[: len(want)], s[: len(want)])
    assert torch.allclose(got, want, rtol=1e-4)  # uniform_g divides by 1 - s/t
    with pytest.raises(ValueError):
        net.SCHEDULE.weight("no such", t)


def test_probabilities_of_solver_steps():
    close(solver_step_probabilities(DistillationConfig()), GOLDENS["unet"]["heun_step_p"], 1e-12)


@over_both
def test_levels_of_the_denoising_loss(net):
    c = GOLDENS[net.NAME]
    close(denoising_levels(c["dsm.n"], c["dsm.u"], net.SCHEDULE, 0.7), c["dsm.sigma"], 2e-5)


@torch.no_grad()
@over_both
@pytest.mark.parametrize("rows", [slice(None), slice(2, 3)], ids=["batch", "alone"])
def test_denoisers(net, rows):
    c, student = GOLDENS[net.NAME], net.student()
    t, s = c["grid.t"][c["t_index"]][rows], c["grid.t"][c["s_index"]][rows]
    x, omega, prompt = c["x_t"][rows], c["omega"][rows], net.text(c, c["prompt"][rows])
    close(net.teacher()(x, t, prompt), c["teacher.D"][rows], 2e-5)
    for name, model in (("student", student), ("target", net.student(net.TARGET))):
        close(model.estimate(x, t, s, prompt, omega), c[f"{name}.g"][rows], 2e-5)
        close(model(x, t, s, prompt, omega), c[f"{name}.G"][rows], 2e-5)
    close(student.estimate(x, t, t, prompt, omega), c["student.g_tt"][rows], 2e-5)
    close(student(x, t, t, prompt, omega), c["student.G_tt"][rows], 2e-5)
    assert torch.equal(student(x, t, t, prompt, omega), x)
    if "student.g_no_omega" in c:  # the official transformer cannot run without
        close(student.estimate(x, t, s, prompt), c["student.g_no_omega"][rows], 2e-5)
        close(student(x, t, s, prompt), c["student.G_no_omega"][rows], 2e-5)


@torch.no_grad()
@over_both
def test_no_second_call_at_nu_one(net):
    c, student, calls = GOLDENS[net.NAME], net.student(), []
    hook = student.network.register_forward_pre_hook(lambda m, args: calls.append(args[0].shape[0]))
    try:
        x, prompt, none = c["x_t"][:3], net.text(c, c["prompt"][:3]), net.empty(c, 3)
        t, s = torch.tensor(80.0), torch.tensor(0.002)
        plain = guided_jump(student, prompt, none, c["omega"][:3], 1.0)(x, t, s)
        assert calls == [3]
        almost = guided_jump(student, prompt, none, c["omega"][:3], 1.0 + 1e-9)(x, t, s)
        assert calls == [3, 6]
        close(plain, almost, 1e-5)
    finally:
        hook.remove()
