"""Memory format, compilation, checkpointing and precision of the frozen networks: the same losses and gradients."""

import pytest
import torch
from helpers import close, golden
from nets import SCHEDULE, SMALLER, new_student, new_teacher, text

from soundctm.distillation import Distillation, DistillationConfig, draw, tune
from soundctm.precision import has_native_bf16

E = golden("e_losses")
LATENTS, PROMPT, EMPTY = E["pair.x_start"][:, :, :16], text(E), text(E, torch.zeros(2, dtype=torch.long))
SHORT = {"num_heun_step": 1, "num_heun_step_random": False}


def run(**given):
    config = DistillationConfig(**SHORT, **given)
    models = new_teacher(config=SMALLER), new_student(config=SMALLER), new_student(303, SMALLER).requires_grad_(False)
    names = [list(model.state_dict()) for model in models]
    tune(config, *models, backend="eager")
    assert names == [list(model.state_dict()) for model in models]
    draws = draw(LATENTS, config, SCHEDULE, torch.Generator().manual_seed(0))
    result = Distillation(*models, config)(LATENTS, PROMPT, EMPTY, draws)
    result.total.backward()
    return result, {name: p.grad for name, p in models[1].named_parameters()}, models


@pytest.fixture(scope="module")
def untuned():
    return run(channels_last=False)[:2]


@pytest.mark.parametrize(
    "given",
    [
        {"channels_last": True},
        {"gradient_checkpointing": True},
        pytest.param({"compile_frozen": True}, marks=pytest.mark.slow),  # tracing alone takes ten seconds
    ],
    ids=str,
)
def test_results_stay_the_same(untuned, given):
    result, gradients, models = run(**given)
    close(result.total.detach(), untuned[0].total.detach(), 1e-5)
    close(result.balance, untuned[0].balance, 1e-4)
    rounding = 1e-6 * max(gradient.abs().max().item() for gradient in untuned[1].values())
    for name, wanted in untuned[1].items():
        close(gradients[name], wanted, 3e-4, rounding)
    last = models[1].network.conv_out.weight
    assert last.is_contiguous(memory_format=torch.channels_last) == ("channels_last" in given)
    assert (models[0].network._compiled_call_impl is not None) == ("compile_frozen" in given)
    assert models[1].network.down_blocks[0].gradient_checkpointing == ("gradient_checkpointing" in given)


def test_channels_last_is_for_gpus_unless_asked_for():
    models = run()[2]
    assert not models[1].network.conv_out.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_frozen_networks_may_stay_in_float32_within_autocast(untuned, precision):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    seen = []
    target = new_student(303, SMALLER)
    target.network.conv_out.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    config = DistillationConfig(**SHORT, frozen_precision=precision)
    step = Distillation(new_teacher(config=SMALLER), target, target, config)
    draws = draw(LATENTS, config, SCHEDULE, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        # only the frozen part: the student in bfloat16 is slow where the CPU has no such instructions
        step.target_at(step.solve(LATENTS, PROMPT, EMPTY, draws), PROMPT, draws)
    assert seen == [torch.float32]
    assert before == (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)


@pytest.mark.skipif(not has_native_bf16("cpu"), reason="bfloat16 is emulated on this CPU, and slow")
def test_frozen_networks_in_bfloat16_change_the_loss_a_little(untuned):
    result, _, _ = run(frozen_precision="bf16")
    close(result.total.detach(), untuned[0].total.detach(), 0.1)
    assert result.total != untuned[0].total
