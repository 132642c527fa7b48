"""A short seeded training of the UNet gives the weights that were recorded before there was a second backbone.

Sums of float32 depend on the processor's kernels. On a machine that rounds as the recording one did, which a network of
the library alone tells, every bit must be equal; elsewhere the numbers must agree as rounding lets them.
"""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from helpers import close
from nets import SMALLER, new_student, new_teacher

from soundctm.distillation import Distillation, DistillationConfig, draw
from soundctm.ema import update_ema
from soundctm.text import TextConditioning

RECORD = Path(__file__).parent / "recorded.json"
STEPS, BATCH = 3, 3


def digest(tensors) -> str:
    """SHA-256 of the bytes of tensors in their order."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().contiguous().numpy().tobytes())
    return total.hexdigest()


def norms(module) -> list[float]:
    return [float(parameter.detach().double().norm()) for parameter in module.parameters()]


def kernels() -> str:
    """How this machine rounds: a forward and a backward pass of the library's own UNet."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config(SMALLER)
    width = SMALLER["cross_attention_dim"]
    unet(torch.randn(4, 8, 16, 16), torch.randn(4), torch.randn(4, 5, width)).sample.square().mean().backward()
    return digest(parameter.grad for parameter in unet.parameters() if parameter.grad is not None)


def short_training() -> dict[str, torch.nn.Module]:
    """A few distillation steps from random latents and hidden states, with RAdam and the average."""
    teacher, student, target = new_teacher(config=SMALLER), new_student(config=SMALLER), new_student(303, SMALLER)
    target.load_state_dict(student.state_dict())
    target.requires_grad_(False)
    config = DistillationConfig(start_scales=6, num_heun_step=3)
    step = Distillation(teacher, student, target, config)
    optimizer = torch.optim.RAdam(student.parameters(), lr=1e-3)
    random = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        latents = 0.25 * torch.randn(BATCH, 8, 16, 16, generator=random)
        hidden = torch.randn(2 * BATCH, 4, SMALLER["cross_attention_dim"], generator=random)
        text = TextConditioning(hidden, torch.rand(2 * BATCH, 4, generator=random) < 0.8)
        text.mask[:, 0] = True
        step(latents, text[:BATCH], text[BATCH:], draw(latents, config, student.schedule, random)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
        update_ema(target, student, 0.9)
    return {"student": student, "target": target}


@pytest.fixture(scope="module")
def trained():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield {"kernels": kernels(), **short_training()}
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["student", "target"])
def test_the_training_of_the_unet_is_that_of_before(trained, name):
    record = json.loads(RECORD.read_text())
    close(torch.tensor(norms(trained[name])), torch.tensor(record[name]["norms"]), 1e-4)
    if trained["kernels"] == record["kernels"]:
        assert digest(trained[name].parameters()) == record[name]["sha256"]


if __name__ == "__main__":  # prints the record of this machine
    import sys

    torch.set_num_threads(1)
    made = short_training()
    record = {name: {"sha256": digest(m.parameters()), "norms": norms(m)} for name, m in made.items()}
    json.dump({"kernels": kernels(), **record}, sys.stdout, indent=1)
