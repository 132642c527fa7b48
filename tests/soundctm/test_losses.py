"""Golden e of both backbones: losses, their gradients, estimate and target of a pair, and the balance weight."""

import pytest
import torch
from backbones import BACKBONES, over_both
from helpers import close

from soundctm import losses
from soundctm.distillation import Distillation, DistillationConfig, Draws
from soundctm.losses import LATENT_LOSSES
from soundctm.schedule import append_dims

GOLDENS = {name: net.golden("e_losses") for name, net in BACKBONES.items()}
POINTS = ("zs", "z0")
FEATURES = [(net, point, depth) for net in BACKBONES.values() for point in POINTS for depth in net.DEPTHS]
STEPS = [
    (net, *key.split(".")[1:3])
    for name, net in BACKBONES.items()
    for key in GOLDENS[name]
    if key.startswith("dsm.") and key.endswith(".loss")
]


def named(cases):
    return ["-".join([net.NAME, *rest]) for net, *rest in cases]


@over_both
@pytest.mark.parametrize("name", list(LATENT_LOSSES))
def test_latent_losses(net, name):
    e = GOLDENS[net.NAME]
    estimate = e["estimate"].clone().requires_grad_()
    loss = LATENT_LOSSES[name]
    if name == "ictm":  # the official constant counts the full-size latents of the UNet, whatever the latents are
        loss = lambda a, b: losses.pseudo_huber(a, b, 8 * 16 * 256)  # noqa: E731
    values = e["weights"] * loss(estimate, e["target"])
    close(values.detach(), e[f"{name}.loss"], 2e-5)
    values.mean().backward()
    close(estimate.grad, e[f"{name}.grad"], 3e-4)


def step(net, match_point="zs", target_loss="z_0", model=None) -> Distillation:
    config = DistillationConfig(match_point=match_point, dsm_loss_target=target_loss, **net.DISTILLATION)
    return Distillation(net.teacher(), model or net.student(), net.student(net.TARGET), config)


def draws(e) -> Draws:
    return Draws(
        solver_steps=3,
        t_index=e["pair.t_index"],
        s_index=e["pair.s_index"],
        omega=e["pair.omega"],
        noise=e["pair.noise"],
        dsm_sigma=e["dsm.sigma"],
        dsm_noise=e["dsm.noise"],
    )


@pytest.mark.parametrize(("net", "match_point", "depth"), FEATURES, ids=named(FEATURES))
def test_feature_loss(net, match_point, depth):
    e, teacher = GOLDENS[net.NAME], net.teacher()
    estimate = e["estimate"].clone().requires_grad_()
    prompt, level = net.text(e), e["s"] if match_point == "zs" else torch.full((2,), 0.002)
    values = e["weights"] * losses.feature_distance(
        teacher.features(estimate, level, prompt, depth),
        teacher.features(e["target"], level, prompt, depth),
        teacher.network.feature_axis,
    )
    name = f"feature.{match_point}{net.DEPTHS[depth]}"
    close(values.detach(), e[f"{name}.loss"], 2e-5)
    values.mean().backward()
    close(estimate.grad, e[f"{name}.grad"], 3e-4)


@over_both
@pytest.mark.parametrize("match_point", POINTS)
def test_estimate_and_target_of_a_pair(net, match_point):
    e = GOLDENS[net.NAME]
    prompt, none = net.text(e), net.empty(e, 2)
    run, d = step(net, match_point), draws(e)
    with torch.no_grad():
        t, s = run.levels(d.t_index, d), run.levels(d.s_index, d)
        z_t = e["pair.x_start"] + append_dims(t, e["pair.noise"].ndim) * e["pair.noise"]
        close(run.solve(z_t, prompt, none, d), e["pair.x_u"], 2e-5)
        estimate = run.matched(run.student(z_t, t, s, prompt, d.omega), prompt, d)
        target = run.target_at(run.solve(z_t, prompt, none, d), prompt, d)
    close(estimate, e[f"pair.{match_point}.estimate"], 2e-5)
    close(target, e[f"pair.{match_point}.target"], 2e-5)


@pytest.mark.parametrize(("net", "match_point", "wanted"), STEPS, ids=named(STEPS))
def test_whole_step(net, match_point, wanted):
    e, model = GOLDENS[net.NAME], net.new_student()
    result = step(net, match_point, wanted, model)(e["pair.x_start"], net.text(e), net.empty(e, 2), draws(e))
    name = f"dsm.{match_point}.{wanted}"
    close(result.consistency.detach(), e[f"{name}.consistency"], 2e-5)
    close(result.balance, e[f"{name}.balance"], 2e-5)
    close(result.denoising.detach(), e[f"{name}.loss"], 2e-5)
    gradients = {k.removeprefix(f"{name}.grad."): v for k, v in e.items() if k.startswith(f"{name}.grad.")}
    if wanted == "z_0":
        assert gradients
        result.total.backward()
        found = net.gradients(model.network)
        for key, want in gradients.items():
            close(found[key], want, 3e-4)
        norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        close(norm, e[f"{name}.grad_norm"], 3e-4)


@over_both
def test_teacher_gets_no_gradient_and_keeps_none(net):
    e, model = GOLDENS[net.NAME], net.new_student()
    step(net, model=model)(e["pair.x_start"], net.text(e), net.empty(e, 2), draws(e)).total.backward()
    assert all(p.grad is None for p in net.teacher().parameters())
    assert all(p.grad is None for p in net.student(net.TARGET).parameters())
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


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
