"""Memory format, compilation, checkpointing and precision of the frozen networks: the same losses and gradients over
both backbones."""

import pytest
import torch
from backbones import BACKBONES, over_both
from helpers import close
from recording import Again

from soundctm.acceleration import Graphs
from soundctm.distillation import Distillation, DistillationConfig, draw, tune
from soundctm.precision import gains_from_bf16

SHORT = {"num_heun_step": 1, "num_heun_step_random": False}


def batch(net):
    e = net.golden("e_losses")
    return e["pair.x_start"][:, :, :16], net.text(e), net.empty(e, 2)


def run(net, graphs=None, **given):
    config, (latents, *texts) = DistillationConfig(**SHORT, **given), batch(net)
    models = (
        net.new_teacher(config=net.SMALLER),
        net.new_student(config=net.SMALLER),
        net.new_student(net.TARGET, net.SMALLER).requires_grad_(False),
    )
    names = [list(model.state_dict()) for model in models]
    tune(config, *models, backend="eager", graphs=graphs)
    assert names == [list(model.state_dict()) for model in models]
    draws = draw(latents, config, net.SCHEDULE, torch.Generator().manual_seed(0))
    result = Distillation(*models, config)(latents, *texts, draws)
    result.total.backward()
    return result, {name: p.grad for name, p in models[1].named_parameters() if p.requires_grad}, models


@pytest.fixture(scope="module")
def untuned():
    return {name: run(net, channels_last=False)[:2] for name, net in BACKBONES.items()}


@over_both
@pytest.mark.parametrize(
    "given",
    [
        {"channels_last": True},
        {"gradient_checkpointing": True},
        pytest.param({"compile_frozen": True}, marks=pytest.mark.slow),  # tracing alone takes ten seconds
    ],
    ids=str,
)
def test_results_stay_the_same(untuned, net, given):
    result, gradients, models = run(net, **given)
    before, wanted = untuned[net.NAME]
    close(result.total.detach(), before.total.detach(), 1e-5)
    close(result.balance, before.balance, 1e-4)
    rounding = 1e-6 * max(gradient.abs().max().item() for gradient in wanted.values())
    for name, gradient in wanted.items():
        close(gradients[name], gradient, 3e-4, rounding)
    last = models[1].network.last_weight
    if last.ndim == 4:  # a transformer has no such memory format
        assert last.is_contiguous(memory_format=torch.channels_last) == ("channels_last" in given)
    assert (models[0].network._compiled_call_impl is not None) == ("compile_frozen" in given)
    assert models[1].network.is_gradient_checkpointing == ("gradient_checkpointing" in given)


def test_channels_last_is_for_gpus_unless_asked_for():
    models = run(BACKBONES["unet"])[2]
    assert not models[1].network.conv_out.weight.is_contiguous(memory_format=torch.channels_last)


@over_both
@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_frozen_networks_may_stay_in_float32_within_autocast(net, precision):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    seen, (latents, text, empty) = [], batch(net)
    target = net.new_student(net.TARGET, net.SMALLER)
    out = target.network.conv_out if net.NAME == "unet" else target.network.proj_out
    out.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    config = DistillationConfig(**SHORT, frozen_precision=precision)
    step = Distillation(net.new_teacher(config=net.SMALLER), target, target, config)
    draws = draw(latents, config, net.SCHEDULE, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        # only the frozen part: the student in bfloat16 is slow where the CPU has no such instructions
        step.target_at(step.solve(latents, text, empty, draws), text, draws)
    assert seen == [torch.float32]
    assert before == (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)


@pytest.mark.skipif(not gains_from_bf16("cpu"), reason="bfloat16 is slow on this CPU")
@over_both
def test_frozen_networks_in_bfloat16_change_the_loss_a_little(untuned, net):
    result, before = run(net, frozen_precision="bf16")[0].total.detach(), untuned[net.NAME][0].total.detach()
    close(result, before, 0.1)
    assert result != before


@over_both
def test_a_teacher_of_graphs_gives_the_same_step(untuned, net):
    recorder, (before, wanted) = Again(), untuned[net.NAME]
    result, gradients, _ = run(net, Graphs(recorder), graph_teacher=True, channels_last=False)
    close(result.total.detach(), before.total.detach(), 1e-5)
    rounding = 1e-6 * max(gradient.abs().max().item() for gradient in wanted.values())
    for name, gradient in wanted.items():
        close(gradients[name], gradient, 3e-4, rounding)
    assert (recorder.recordings, recorder.repeats) == (1, 2)  # both calls of a Heun step; features go past it


@over_both
def test_a_teacher_kept_in_bfloat16_is_a_copy_and_changes_the_loss_a_little(untuned, net):
    result, gradients, models = run(net, teacher_weights="bfloat16")
    assert models[0].network.dtype == torch.bfloat16 and models[1].network.dtype == torch.float32
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients.values())
    before = untuned[net.NAME][0].total.detach()
    close(result.total.detach(), before, 0.1)
    assert result.total != before
