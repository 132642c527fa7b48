"""Golden g: whole training iterations, every draw given, against the official loop."""

import pytest
import torch
from helpers import close, golden, golden_meta
from nets import new_student, teacher, text

from soundctm.distillation import Distillation, DistillationConfig, Draws
from soundctm.ema import update_ema


def given_draws(g, i) -> Draws:
    take = lambda name: g[f"step{i}.{name}"]  # noqa: E731
    return Draws(
        int(take("num_heun_step")), take("t_index"), take("s_index"), take("omega"), take("noise"),
        take("dsm.sigma"), take("dsm.noise"),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["g_trajectory", "g_trajectory_fast"])
def test_trajectory(name):
    g, meta = golden(name), golden_meta(name)
    student, target = new_student(202), new_student(202).requires_grad_(False)
    start = {k: v.clone() for k, v in student.network.state_dict().items()}
    step = Distillation(teacher(), student, target, DistillationConfig())
    optimizer = torch.optim.RAdam(student.parameters(), lr=meta["lr"], weight_decay=meta["weight_decay"])
    for i in range(meta["iterations"]):
        prompt = text(g, g[f"step{i}.prompt"])
        empty = text(g, torch.zeros(len(g[f"step{i}.prompt"]), dtype=torch.long))
        result = step(g[f"step{i}.x_start"], prompt, empty, given_draws(g, i))
        close(result.consistency.detach(), g[f"step{i}.consistency_loss"], 1e-4, 1e-8)
        close(result.balance, g[f"step{i}.balance"], 1e-4)
        close(result.denoising.detach(), g[f"step{i}.denoising_loss"], 1e-4)
        close(result.total.detach(), g[f"step{i}.loss"], 1e-4)
        optimizer.zero_grad()
        result.total.backward()
        norm = torch.nn.utils.clip_grad_norm_(student.parameters(), meta["clip"])
        close(norm, g[f"step{i}.grad_norm"], 3e-4)
        if i == 0:
            for key in (k for k in g if k.startswith("step0.grad.")):
                close(student.network.get_parameter(key.removeprefix("step0.grad.")).grad, g[key], 3e-4)
        optimizer.step()
        update_ema(target, student, meta["ema"])
    for kind, model in (("student", student), ("target", target)):
        for key in (k for k in g if k.startswith(f"{kind}.") and k != f"{kind}.norm"):
            parameter = model.network.get_parameter(key.removeprefix(f"{kind}.")).detach()
            if name == "g_trajectory":
                close(parameter, g[key], 0, 1e-7)
            change = parameter - start[key.removeprefix(f"{kind}.")]
            if name == "g_trajectory_fast":
                close(change, g[f"{kind}_change." + key.removeprefix(f"{kind}.")], 1e-2)


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
