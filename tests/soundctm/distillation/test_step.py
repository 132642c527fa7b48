"""The step's one backward pass against the plain formulas, under every option; how often it calls the networks."""

import contextlib
import dataclasses

import pytest
import torch
from helpers import close, golden
from nets import SCHEDULE, SMALLER, new_student, new_teacher, text

from benchmarks.measuring import Counts
from soundctm import losses
from soundctm.denoisers import StudentDenoiser
from soundctm.distillation import Distillation, DistillationConfig, Draws, draw
from soundctm.schedule import append_dims

E = golden("e_losses")
PROMPT, EMPTY = text(E), text(E, torch.zeros(2, dtype=torch.long))
LATENTS = E["pair.x_start"][:, :, :16]
TEACHER, TARGET = new_teacher(config=SMALLER), new_student(303, SMALLER).requires_grad_(False)
SHORT = {"num_heun_step": 2, "num_heun_step_random": False}


def drawn(config: DistillationConfig, seed: int = 3) -> Draws:
    return draw(LATENTS, config, SCHEDULE, torch.Generator().manual_seed(seed))


def plain(step: Distillation, d: Draws) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Total, consistency and balance with every graph kept: the official order of calls and of backward passes."""
    config, model = step.config, step.student
    t, s = step.levels(d.t_index, d), step.levels(d.s_index, d)
    z_t = LATENTS + append_dims(t, 4) * d.noise
    estimate = step.matched(model(z_t, t, s, PROMPT, d.omega), PROMPT, d)
    target = step.target_at(step.solve(z_t, PROMPT, EMPTY, d), PROMPT, d)
    consistency = step.consistency_loss(estimate, target, PROMPT, d)
    if not config.diffusion_training:
        return config.consistency_weight * consistency.mean(), consistency, None
    sigma = d.dsm_sigma
    noisy = LATENTS + append_dims(sigma, 4) * d.dsm_noise
    wanted = LATENTS if config.dsm_loss_target == "z_0" else target
    denoising = SCHEDULE.weight(config.diffusion_weight_schedule, sigma) * losses.l2(
        model.estimate(noisy, sigma, sigma, PROMPT, d.omega), wanted
    )
    balance = torch.ones(())
    if config.apply_adaptive_weight:
        last = model.network.conv_out.weight
        norms = [
            torch.autograd.grad(part.mean(), last, retain_graph=True)[0].norm() for part in (consistency, denoising)
        ]
        balance = norms[0] / (norms[1] + 1e-8)
    total = config.consistency_weight * consistency.mean() + config.denoising_weight * balance * denoising.mean()
    return total, consistency, balance


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"unet_mode": "half", "weight_schedule": "karras", "denoising_weight": 5.0},
        {"match_point": "z0", "consistency_weight": 0.25, "dsm_loss_target": "z_target"},
        {"texture_weight": 0.25, "match_point": "z0"},
        {"loss_type": "l1", "apply_adaptive_weight": False, "diffusion_weight_schedule": "snr+1"},
        {"loss_type": "ictm", "sample_s_strategy": "smallest", "diffusion_schedule_sampler": "lognormal"},
        {"loss_type": "l2", "diffusion_training": False, "weight_schedule": "uniform_g"},
        {"loss_type": "l2", "uniform_sampled_cfg_distill": False},
        {"loss_type": "l2", "cfg_single_distill": True, "match_point": "z0"},
        {"loss_type": "l2", "time_continuous": True},
        {"loss_type": "l2", "scale_mode": "progressive", "start_scales": 7, "solver": "multistep"},
    ],
    ids=lambda given: "-".join(map(str, given.values())) or "default",
)
def test_same_losses_and_gradients_as_the_plain_formulas(given):
    config = DistillationConfig(**SHORT, **given)
    model, d = new_student(config=SMALLER), drawn(DistillationConfig(**SHORT, **given))
    step = Distillation(TEACHER, model, TARGET, config)
    total, consistency, balance = plain(step, d)
    total.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    result = step(LATENTS, PROMPT, EMPTY, d)
    close(result.total.detach(), total.detach(), 1e-5)
    close(result.consistency, consistency.detach(), 1e-5)
    assert (result.balance is None) == (balance is None)
    if balance is not None:
        close(result.balance, balance, 1e-5)
    assert not any(part.requires_grad for part in (result.consistency, result.denoising) if part is not None)
    result.total.backward()
    assert wanted and set(wanted) == {name for name, p in model.named_parameters() if p.grad is not None}
    rounding = 1e-6 * max(gradient.abs().max().item() for gradient in wanted.values())  # some are 0 but for it
    for name, p in model.named_parameters():
        if p.grad is not None:
            close(p.grad, wanted[name], 2e-4, rounding)


def test_gradient_accumulation_scales_the_gradient():
    config = DistillationConfig(**SHORT, loss_type="l2")
    model = new_student(config=SMALLER)
    step = Distillation(TEACHER, model, TARGET, config)
    step(LATENTS, PROMPT, EMPTY, drawn(config)).total.backward()
    whole = model.network.conv_in.weight.grad.clone()
    model.zero_grad()
    (step(LATENTS, PROMPT, EMPTY, drawn(config)).total / 4).backward()
    close(model.network.conv_in.weight.grad, whole / 4, 1e-6)


def test_validation_without_gradients():
    config = DistillationConfig(**SHORT, loss_type="l2", apply_adaptive_weight=False)
    step, d = Distillation(TEACHER, new_student(202, SMALLER), TARGET, config), drawn(config)
    with torch.no_grad():
        values = step(LATENTS, PROMPT, EMPTY, d)
    trained = Distillation(TEACHER, new_student(202, SMALLER), TARGET, config)(LATENTS, PROMPT, EMPTY, d)
    assert not values.total.requires_grad and values.balance == 1
    close(values.total, trained.total.detach(), 1e-6)


def test_no_guidance_is_the_unguided_solver_without_omega():
    config = DistillationConfig(**SHORT, uniform_sampled_cfg_distill=False)
    step, d = Distillation(TEACHER, new_student(config=SMALLER), TARGET, config), drawn(config)
    guided = dataclasses.replace(d, omega=torch.ones(2))
    t = step.levels(d.t_index, d)
    z_t = LATENTS + append_dims(t, 4) * d.noise
    close(step.solve(z_t, PROMPT, EMPTY, d), step.solve(z_t, PROMPT, EMPTY, guided), 1e-5)  # omega = 1 is no guidance


def test_continuous_time_on_the_levels_is_discrete_time():
    config = DistillationConfig(**SHORT)
    step = Distillation(TEACHER, new_student(config=SMALLER), TARGET, config)
    d = drawn(config)
    between = dataclasses.replace(d, t_index=d.t_index.float(), s_index=d.s_index.float())
    for index in ("t_index", "s_index", "path"):
        close(step.levels(getattr(between, index), between), step.levels(getattr(d, index), d), 1e-5)


@pytest.mark.parametrize("solver, solving", [("heun", 2 * 5), ("multistep", 5 + 1)])
def test_network_calls_of_a_step(solver, solving):
    config = DistillationConfig(num_heun_step=5, num_heun_step_random=False, solver=solver)
    unets = TEACHER.network, new_student(config=SMALLER).network, TARGET.network
    counts = [Counts() for _ in unets]
    with contextlib.ExitStack() as hooks:
        for count, unet in zip(counts, unets, strict=True):
            hooks.enter_context(count.of(unet.conv_in))
        student = StudentDenoiser(unets[1], SCHEDULE)
        Distillation(TEACHER, student, TARGET, config)(LATENTS, PROMPT, EMPTY, drawn(config)).total.backward()
    found = [(count.calls, count.samples, count.backwards) for count in counts]
    assert found == [(solving + 2, 4 * solving + 4, 1), (1, 4, 1), (1, 2, 0)]
