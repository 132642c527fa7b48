"""A short seeded training of the UNet gives the weights that were recorded before there was a second backbone.

Sums of float32 depend on the processor's kernels. On a machine that rounds as the recording one did, which a network of
the library alone tells, every bit must be equal; elsewhere the numbers must agree as rounding lets them.
"""

import hashlib
import json
from pathlib import Path

import pytest
import tiny
import torch
from diffusers import UNet2DConditionModel
from helpers import close

from soundctm.training.running.loop import train
from soundctm.training.tasks import distill, teacher

RECORD = Path(__file__).parent / "recorded.json"


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
    unet = UNet2DConditionModel.from_config(tiny.UNET)
    unet(torch.randn(4, 8, 16, 16), torch.randn(4), torch.randn(4, 5, 384)).sample.square().mean().backward()
    return digest(parameter.grad for parameter in unet.parameters() if parameter.grad is not None)


def short_training(folder: Path) -> dict[str, object]:
    """Two steps of a teacher, three of a student, with their losses."""
    world = tiny.write_world(folder)
    base = {"per_device_train_batch_size": 4, "validation_every": 0, "checkpointing_steps": 0}
    first = teacher.TeacherConfig(
        **{**world, **base}, unet_model_config=str(folder / "unet.json"), output_dir=str(folder / "teacher"),
        max_train_steps=2,
    )  # fmt: skip
    given = distill.DistillConfig(
        **{**world, **base}, teacher=str(teacher.train(first)), output_dir=str(folder / "run"),
        total_training_steps=3, start_scales=6, num_heun_step=3, start_ema=0.9, lr=1e-3,
    )  # fmt: skip
    tasks = []

    def make(config):
        tasks.append(distill.DistillTask(config))
        return tasks[0]

    train(make, given)
    return {"student": tasks[0].student, "target": tasks[0].target}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield {"kernels": kernels(), **short_training(tmp_path_factory.mktemp("recorded"))}
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
    import tempfile

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        made = short_training(Path(folder))
        record = {name: {"sha256": digest(m.parameters()), "norms": norms(m)} for name, m in made.items()}
        json.dump({"kernels": kernels(), **record}, sys.stdout, indent=1)
