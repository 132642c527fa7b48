"""Golden c: sigma grid, scalings, weights, and the denoisers of teacher, student and target."""

import pytest
import torch
from helpers import close, golden
from nets import SCHEDULE, empty, student, teacher, text

from soundctm.denoisers import guided_jump
from soundctm.distillation import DistillationConfig
from soundctm.distillation.draws import denoising_levels, solver_step_probabilities
from soundctm.schedule import WEIGHTINGS

C = golden("c_denoiser")


def test_grid_and_scalings():
    t = SCHEDULE.grid(40)
    close(t, C["grid.t"], 2e-5)
    for steps in (1, 2, 4):
        close(SCHEDULE.grid(steps + 1), C[f"grid.sampler_{steps}"][:-1], 2e-5)
    for name in ("c_in", "c_skip", "c_out"):
        close(getattr(SCHEDULE, name)(t), C[f"grid.{name}"], 2e-5)
    close(C["grid.s"] / t, C["grid.gen_c_skip"], 2e-5)
    with pytest.raises(ValueError):
        SCHEDULE.grid(1)


@pytest.mark.parametrize("name", [*WEIGHTINGS, "uniform_g"])
def test_weightings(name):
    t, s = SCHEDULE.grid(40), C["grid.s"]
    want = C[f"grid.weight.{name}"]
    got = SCHEDULE.weight(name, t[: len(want)], s[: len(want)])
    assert torch.allclose(got, want, rtol=1e-4)  # uniform_g divides by 1 - s/t
    with pytest.raises(ValueError):
        SCHEDULE.weight("no such", t)


def test_draw_distributions():
    p = solver_step_probabilities(DistillationConfig())
    close(p, C["heun_step_p"], 1e-12)
    close(denoising_levels(C["dsm.n"], C["dsm.u"], SCHEDULE, 0.7), C["dsm.sigma"], 2e-5)


@torch.no_grad()
@pytest.mark.parametrize("rows", [slice(None), slice(2, 3)])
def test_denoisers(rows):
    t, s = C["grid.t"][C["t_index"]][rows], C["grid.t"][C["s_index"]][rows]
    x, omega, prompt = C["x_t"][rows], C["omega"][rows], text(C, C["prompt"][rows])
    close(teacher()(x, t, prompt), C["teacher.D"][rows], 2e-5)
    for name, seed in (("student", 202), ("target", 303)):
        close(student(seed).estimate(x, t, s, prompt, omega), C[f"{name}.g"][rows], 2e-5)
        close(student(seed)(x, t, s, prompt, omega), C[f"{name}.G"][rows], 2e-5)
    close(student().estimate(x, t, t, prompt, omega), C["student.g_tt"][rows], 2e-5)
    close(student()(x, t, t, prompt, omega), C["student.G_tt"][rows], 2e-5)
    assert torch.equal(student()(x, t, t, prompt, omega), x)
    close(student().estimate(x, t, s, prompt), C["student.g_no_omega"][rows], 2e-5)
    close(student()(x, t, s, prompt), C["student.G_no_omega"][rows], 2e-5)


@torch.no_grad()
def test_no_second_call_at_nu_one():
    calls = []
    hook = student().network.register_forward_pre_hook(lambda m, args: calls.append(args[0].shape[0]))
    try:
        x, prompt, none = C["x_t"][:3], text(C, C["prompt"][:3]), empty(C, 3)
        t, s = torch.tensor(80.0), torch.tensor(0.002)
        plain = guided_jump(student(), prompt, none, C["omega"][:3], 1.0)(x, t, s)
        assert calls == [3]
        almost = guided_jump(student(), prompt, none, C["omega"][:3], 1.0 + 1e-9)(x, t, s)
        assert calls == [3, 6]
        close(plain, almost, 1e-5)
    finally:
        hook.remove()
