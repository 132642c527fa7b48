"""The step over both backbones: its one backward pass against the plain formulas, under every option; how often it
calls the networks."""

import contextlib
import dataclasses
import functools

import pytest
import torch
from backbones import over_both
from helpers import close

from benchmarks.measuring import Counts
from soundctm import losses
from soundctm.denoisers import StudentDenoiser
from soundctm.distillation import Distillation, DistillationConfig, Draws, Losses, draw
from soundctm.schedule import append_dims

SHORT = {"num_heun_step": 2, "num_heun_step_random": False}


class Setting:
    """Small networks of one backbone, two clips and their text."""

    def __init__(self, net) -> None:
        e = net.golden("e_losses")
        self.net = net
        self.text, self.empty = net.text(e), net.empty(e, 2)
        self.latents = e["pair.x_start"][:, :, :16]
        self.teacher = net.new_teacher(config=net.SMALLER)
        self.target = self.student(net.TARGET).requires_grad_(False)

    def student(self, seed: int | None = None) -> StudentDenoiser:
        return self.net.new_student(seed or self.net.STUDENT, self.net.SMALLER)

    def drawn(self, config: DistillationConfig, seed: int = 3) -> Draws:
        return draw(self.latents, config, self.net.SCHEDULE, torch.Generator().manual_seed(seed))

    def step(self, config: DistillationConfig, student: StudentDenoiser | None = None) -> Distillation:
        return Distillation(self.teacher, student or self.student(), self.target, config)

    def losses(self, step: Distillation, d: Draws) -> Losses:
        return step(self.latents, self.text, self.empty, d)


@functools.cache
def setting(net) -> Setting:
    return Setting(net)


def plain(step: Distillation, on: Setting, d: Draws) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Total, consistency and balance with every graph kept: the official order of calls and of backward passes."""
    config, model, text, latents = step.config, step.student, on.text, on.latents
    t, s = step.levels(d.t_index, d), step.levels(d.s_index, d)
    z_t = latents + append_dims(t, latents.ndim) * d.noise
    estimate = step.matched(model(z_t, t, s, text, d.omega), text, d)
    target = step.target_at(step.solve(z_t, text, on.empty, d), text, d)
    consistency = step.consistency_loss(estimate, target, text, d)
    if not config.diffusion_training:
        return config.consistency_weight * consistency.mean(), consistency, None
    sigma = d.dsm_sigma
    noisy = latents + append_dims(sigma, latents.ndim) * d.dsm_noise
    wanted = latents if config.dsm_loss_target == "z_0" else target
    denoising = model.schedule.weight(config.diffusion_weight_schedule, sigma) * losses.l2(
        model.estimate(noisy, sigma, sigma, text, d.omega), wanted
    )
    balance = torch.ones(())
    if config.apply_adaptive_weight:
        last = model.network.last_weight
        norms = [
            torch.autograd.grad(part.mean(), last, retain_graph=True)[0].norm() for part in (consistency, denoising)
        ]
        balance = norms[0] / (norms[1] + 1e-8)
    total = config.consistency_weight * consistency.mean() + config.denoising_weight * balance * denoising.mean()
    return total, consistency, balance


@over_both
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"unet_mode": "half", "weight_schedule": "karras", "denoising_weight": 5.0},
        {"unet_mode": "chained", "denoising_weight": 0.2},
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
def test_same_losses_and_gradients_as_the_plain_formulas(net, given):
    config, on = DistillationConfig(**SHORT, **given), setting(net)
    model, d = on.student(), on.drawn(config)
    step = on.step(config, model)
    total, consistency, balance = plain(step, on, d)
    total.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    result = on.losses(step, d)
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


@over_both
def test_gradient_accumulation_scales_the_gradient(net):
    config, on = DistillationConfig(**SHORT, loss_type="l2"), setting(net)
    model = on.student()
    step, weight = on.step(config, model), next(p for p in model.parameters() if p.requires_grad)
    on.losses(step, on.drawn(config)).total.backward()
    whole = weight.grad.clone()
    model.zero_grad()
    (on.losses(step, on.drawn(config)).total / 4).backward()
    close(weight.grad, whole / 4, 1e-6)


@over_both
def test_validation_without_gradients(net):
    config, on = DistillationConfig(**SHORT, loss_type="l2", apply_adaptive_weight=False), setting(net)
    d = on.drawn(config)
    with torch.no_grad():
        values = on.losses(on.step(config), d)
    trained = on.losses(on.step(config), d)
    assert not values.total.requires_grad and values.balance == 1
    close(values.total, trained.total.detach(), 1e-6)


@over_both
def test_no_guidance_is_the_unguided_solver_without_omega(net):
    config, on = DistillationConfig(**SHORT, uniform_sampled_cfg_distill=False), setting(net)
    step, d = on.step(config), on.drawn(config)
    guided = dataclasses.replace(d, omega=torch.ones(2))  # omega = 1 is no guidance
    z_t = on.latents + append_dims(step.levels(d.t_index, d), on.latents.ndim) * d.noise
    close(step.solve(z_t, on.text, on.empty, d), step.solve(z_t, on.text, on.empty, guided), 1e-5)


@over_both
def test_continuous_time_on_the_levels_is_discrete_time(net):
    config, on = DistillationConfig(**SHORT), setting(net)
    step, d = on.step(config), on.drawn(config)
    between = dataclasses.replace(d, t_index=d.t_index.float(), s_index=d.s_index.float())
    for index in ("t_index", "s_index", "path"):
        close(step.levels(getattr(between, index), between), step.levels(getattr(d, index), d), 1e-5)


@over_both
@pytest.mark.parametrize("solver, solving", [("heun", 2 * 5), ("multistep", 5 + 1)])
def test_network_calls_of_a_step(net, solver, solving):
    config, on = DistillationConfig(num_heun_step=5, num_heun_step_random=False, solver=solver), setting(net)
    networks = on.teacher.network, on.student().network, on.target.network
    counts = [Counts() for _ in networks]
    with contextlib.ExitStack() as hooks:
        for count, network in zip(counts, networks, strict=True):
            hooks.enter_context(count.of(network.conv_in if net.NAME == "unet" else network.proj_in))
        on.losses(on.step(config, StudentDenoiser(networks[1], net.SCHEDULE)), on.drawn(config)).total.backward()
    found = [(count.calls, count.samples, count.backwards) for count in counts]
    assert found == [(solving + 2, 4 * solving + 4, 1), (1, 4, 1), (1, 2, 0)]
