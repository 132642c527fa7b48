"""Golden e: losses, their gradients, estimate and target of a pair, and the balance weight."""

import pytest
import torch
from helpers import close, golden
from nets import new_student, student, teacher, text

from soundctm import losses
from soundctm.distillation import Distillation, DistillationConfig, Draws
from soundctm.losses import LATENT_LOSSES

E = golden("e_losses")


@pytest.mark.parametrize("name", list(LATENT_LOSSES))
def test_latent_losses(name):
    estimate = E["estimate"].clone().requires_grad_()
    loss = LATENT_LOSSES[name]
    if name == "ictm":  # the official constant counts the full-size latents
        loss = lambda a, b: losses.pseudo_huber(a, b, 8 * 16 * 256)  # noqa: E731
    values = E["weights"] * loss(estimate, E["target"])
    close(values.detach(), E[f"{name}.loss"], 2e-5)
    values.mean().backward()
    close(estimate.grad, E[f"{name}.grad"], 3e-4)


def step(match_point="zs", unet_mode="full", target_loss="z_0", model=None) -> Distillation:
    config = DistillationConfig(match_point=match_point, unet_mode=unet_mode, dsm_loss_target=target_loss)
    return Distillation(teacher(), model or student(202), student(303), config)


def draws() -> Draws:
    return Draws(
        solver_steps=3,
        t_index=E["pair.t_index"],
        s_index=E["pair.s_index"],
        omega=E["pair.omega"],
        noise=E["pair.noise"],
        dsm_sigma=E["dsm.sigma"],
        dsm_noise=E["dsm.noise"],
    )


@pytest.mark.parametrize("match_point", ["zs", "z0"])
@pytest.mark.parametrize("depth", ["full", "half"])
def test_feature_loss(match_point, depth):
    estimate = E["estimate"].clone().requires_grad_()
    prompt, distance = text(E), step(match_point, depth)
    level = E["s"] if match_point == "zs" else torch.full((2,), 0.002)
    values = E["weights"] * losses.feature_distance(
        distance.teacher.features(estimate, level, prompt, depth),
        distance.teacher.features(E["target"], level, prompt, depth),
    )
    close(values.detach(), E[f"feature.{match_point}.{depth}.loss"], 2e-5)
    values.mean().backward()
    close(estimate.grad, E[f"feature.{match_point}.{depth}.grad"], 3e-4)


@pytest.mark.parametrize("match_point", ["zs", "z0"])
def test_estimate_and_target_of_a_pair(match_point):
    prompt, none = text(E), text(E, torch.zeros(2, dtype=torch.long))
    run, d = step(match_point), draws()
    with torch.no_grad():
        t, s = run.levels(d.t_index, d), run.levels(d.s_index, d)
        z_t = E["pair.x_start"] + t[:, None, None, None] * E["pair.noise"]
        close(run.solve(z_t, prompt, none, d), E["pair.x_u"], 2e-5)
        estimate = run.matched(run.student(z_t, t, s, prompt, d.omega), prompt, d)
        target = run.target_at(run.solve(z_t, prompt, none, d), prompt, d)
    close(estimate, E[f"pair.{match_point}.estimate"], 2e-5)
    close(target, E[f"pair.{match_point}.target"], 2e-5)


@pytest.mark.parametrize("match_point", ["zs", "z0"])
@pytest.mark.parametrize("wanted", ["z_0", "z_target"])
def test_whole_step(match_point, wanted):
    model = new_student(202)
    result = step(match_point, "full", wanted, model)(
        E["pair.x_start"], text(E), text(E, torch.zeros(2, dtype=torch.long)), draws()
    )
    name = f"dsm.{match_point}.{wanted}"
    close(result.consistency.detach(), E[f"{name}.consistency"], 2e-5)
    close(result.balance, E[f"{name}.balance"], 2e-5)
    close(result.denoising.detach(), E[f"{name}.loss"], 2e-5)
    gradients = {k: v for k, v in E.items() if k.startswith(f"{name}.grad.")}
    if wanted == "z_0":
        assert gradients
        result.total.backward()
        parameters = dict(model.network.named_parameters())
        for key, want in gradients.items():
            close(parameters[key.removeprefix(f"{name}.grad.")].grad, want, 3e-4)
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        close(norm, E[f"{name}.grad_norm"], 3e-4)


def test_teacher_gets_no_gradient_and_keeps_none():
    model = new_student(202)
    step(model=model)(E["pair.x_start"], text(E), text(E, torch.zeros(2, dtype=torch.long)), draws()).total.backward()
    assert all(p.grad is None for p in teacher().parameters())
    assert all(p.grad is None for p in student(303).parameters())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def grain(seed: int, channels: int = 3) -> torch.Tensor:
    """White noise [2, channels, 32, 4]."""
    return torch.randn(2, channels, 32, 4, generator=torch.Generator().manual_seed(seed))


def test_texture_distance_is_that_of_the_magnitudes_of_short_spectra():
    a, b = grain(0, 1), 0.5 * grain(1, 1)
    parts = []
    for frames in losses.WINDOWS:
        window = torch.hann_window(frames)
        window = window / window.norm()
        spectra = [
            torch.stft(z.transpose(2, 3).reshape(8, 32), frames, frames // 2, window=window, center=False,
                       return_complex=True).abs().reshape(2, -1)
            for z in (a, b)
        ]  # fmt: skip
        parts.append((spectra[0] - spectra[1]).abs().mean(1) / (spectra[1].mean(1) + losses.LEAST))
    close(losses.texture_distance(a, b), torch.stack(parts).mean(0), 1e-5)


def test_texture_distance_prefers_another_grain_to_none():
    one, other, blurred = grain(0), grain(1), torch.zeros(2, 3, 32, 4)
    assert (losses.l2(one, other) > 1.5 * losses.l2(blurred, other)).all()
    assert (losses.texture_distance(one, other) < 0.8 * losses.texture_distance(blurred, other)).all()
    assert (losses.texture_distance(other, other) == 0).all()
    loud = torch.tensor([100.0, 10.0, 1.0])[:, None, None]  # every channel counts alike
    close(losses.texture_distance(loud * one, loud * other), losses.texture_distance(one, other), 0.05)


def test_texture_distance_of_silence_and_of_short_latents_has_a_gradient():
    estimate = torch.zeros(2, 3, 6, 4, requires_grad=True)
    losses.texture_distance(estimate, torch.zeros(2, 3, 6, 4)).sum().backward()
    assert estimate.grad.isfinite().all()
    grains = grain(0)[:, :, :6].requires_grad_()
    losses.texture_distance(grains, grain(1)[:, :, :6]).sum().backward()
    assert grains.grad.isfinite().all() and grains.grad.abs().sum() > 0
