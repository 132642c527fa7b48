"""Whole tiny trainings of both backbones on the CPU: teacher, distillation, and the pipeline on what they made."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
import torch
from clips_fixture import write_clips
from safetensors.torch import load_file
from tiny import SECONDS, write_world

from soundctm.checkpoints import load_network
from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMPipeline
from soundctm.training.inputs.batches import LatentBatches
from soundctm.training.running.loop import Loop
from soundctm.training.tasks import distill, teacher


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module", params=list(tiny.NETWORKS))
def network(request):
    return request.param


@pytest.fixture(scope="module")
def world(sounds, network):
    """Options of a training of one backbone."""
    return {**sounds, "unet_model_config": str(Path(sounds["corpus"]).with_name(f"{network}.json"))}


def teacher_config(world, output, **given):
    values = {**world, "output_dir": str(output)}
    base = {"max_train_steps": 6, "per_device_train_batch_size": 4, "validation_every": 3, "checkpointing_steps": 3}
    return teacher.TeacherConfig(**{**values, **base, **given})


@pytest.fixture(scope="module")
def trained_teacher(world, tmp_path_factory):
    return teacher.train(teacher_config(world, tmp_path_factory.mktemp("teacher") / "run"))


def distill_config(world, trained_teacher, output, **given):
    base = {
        "teacher": str(trained_teacher), "output_dir": str(output), "total_training_steps": 6, "start_scales": 6,
        "num_heun_step": 3, "per_device_train_batch_size": 4, "validation_every": 3, "checkpointing_steps": 3,
        "start_ema": 0.9, "lr": 1e-3,
    }  # fmt: skip
    sources = {name: value for name, value in world.items() if name != "unet_model_config"}
    return distill.DistillConfig(**{**sources, **base, **given})


def test_teacher_logs_and_resumes_to_the_same_weights(world, trained_teacher, tmp_path):
    log = [json.loads(line) for line in (trained_teacher.parent / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 6 and all(np.isfinite(list(line.values())).all() for line in log)
    assert log[-1]["validation_loss"] > 0 and log[-1]["samples_per_second"] > 0 and log[-1]["memory_gib"] > 0
    # three steps, the end of that run, and three more from its checkpoint; the schedule is that of six steps
    config = teacher_config(world, tmp_path / "run")
    stop_after(teacher, 3, config)
    resumed = teacher.train(config)
    for a, b in zip(weights(trained_teacher).values(), weights(resumed).values(), strict=True):
        assert torch.equal(a, b)


def test_distillation_makes_a_checkpoint_that_sounds(world, trained_teacher, tmp_path):
    config = distill_config(world, trained_teacher, tmp_path / "run", sample_clips=1, validation_every=6)
    model = distill.train(config)
    for steps in (1, 4):
        folder = tmp_path / "run" / "samples" / "step-00000006" / f"{steps}step"
        assert soundfile.info(folder / "00.wav").duration == SECONDS and (folder / "00.png").stat().st_size > 5000
        assert (folder / "captions.csv").read_text().splitlines()[0] == "file_name,caption"
    again = dataclasses.replace(config, output_dir=str(tmp_path / "again"), validation_every=3, export_early=True)
    stop_after(distill, 3, again)
    early = SoundCTMPipeline.from_pretrained(tmp_path / "again" / "model", device="cpu")
    assert np.isfinite(early("rain").audios).all()
    resumed = distill.train(again)
    for part in ("ema", "student"):
        for a, b in zip(weights(model / part).values(), weights(resumed / part).values(), strict=True):
            assert torch.equal(a, b)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(weights(model / "ema").values(), weights(model / "student").values(), strict=True)
    )
    for kind, steps in (("ema", 1), ("ema", 3), ("student", 2), ("teacher", 3)):
        out = SoundCTMPipeline.from_pretrained(model, kind, device="cpu")(["a dog barking", "rain"], steps, seed=3)
        assert out.audios.shape == (2, round(SECONDS * 16000)) and out.audios.dtype == np.float32
        assert np.isfinite(out.audios).all() and np.abs(out.audios).max() <= 1


def test_trainings_start_from_given_weights(world, network, trained_teacher, tmp_path):
    given = load_network(trained_teacher, "teacher").state_dict()
    task = teacher.TeacherTask(teacher_config(world, tmp_path / "teacher", seed=9, init=str(trained_teacher)))
    for part in (task.objective, task.average):
        assert all(torch.equal(value, given[name]) for name, value in part.denoiser.network.state_dict().items())
    student = tiny.new_networks(network, seed=1)[1]
    student.save_pretrained(tmp_path / "student")
    task = distill.DistillTask(
        distill_config(world, trained_teacher, tmp_path / "distill", init=str(tmp_path / "student"))
    )
    for part in (task.student, task.target):
        own = part.network.state_dict()
        assert all(torch.equal(value, own[name]) for name, value in student.state_dict().items())
    if network == "unet":  # a transformer's student has the weights of its teacher and no others
        with pytest.raises(UserError, match="s_time_embedding"):
            distill.DistillTask(distill_config(world, trained_teacher, tmp_path / "distill", init=str(trained_teacher)))


def test_checkpoint_of_another_configuration_is_refused(world, network, trained_teacher, tmp_path):
    changed = {"unet": {"block_out_channels": [16, 32]}, "dit": {"num_layers": 3}}[network]
    (tmp_path / "other.json").write_text(json.dumps({**tiny.NETWORKS[network], **changed}))
    backbones = {name: str(Path(world["corpus"]).with_name(f"{name}.json")) for name in tiny.NETWORKS}
    del backbones[network]
    for other in (str(tmp_path / "other.json"), *backbones.values()):
        config = teacher_config(world, trained_teacher.parent, unet_model_config=other)
        with pytest.raises(UserError, match="another configuration"):
            teacher.train(config)


def test_own_sounds_with_bad_files_and_mixtures(sounds, tmp_path):
    world = {**sounds, "unet_model_config": str(Path(sounds["corpus"]).with_name("unet.json"))}
    table = write_clips(tmp_path / "data", SECONDS)
    good = table.with_name("good.csv")
    good.write_text("\n".join(table.read_text().splitlines()[:9]) + "\n")
    given = {
        "train_file": str(table), "audio_dir": str(table.parent / "audio"), "validation_file": str(good),
        "mix_share": 0.25, "cache_dir": str(tmp_path / "cache"), "max_train_steps": 4, "validation_every": 4,
    }  # fmt: skip
    first = teacher.train(teacher_config(world, tmp_path / "run", max_bad_clips=0.2, **given))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["bad_clips"] == 2 and log[-1]["validation_loss"] > 0
    again = teacher_config(world, tmp_path / "again", max_bad_clips=0.2, num_workers=1, **given)
    stop_after(teacher, 3, again)
    for a, b in zip(weights(first).values(), weights(teacher.train(again)).values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(UserError, match="2 of 14 clips cannot be read: .*corrupt.wav.*missing.wav.* max_bad_clips"):
        teacher.train(teacher_config(world, tmp_path / "strict", **given))
    with pytest.raises(UserError, match="mix_share is for train_file"):
        teacher.train(teacher_config(world, tmp_path / "corpus", mix_share=0.25))


def test_a_tuned_teacher_is_heard_from_the_folder_beside_it(trained_teacher):
    model = trained_teacher.parent / "model"
    out = SoundCTMPipeline.from_pretrained(model, "teacher", device="cpu")("rain", 3, seed=3)
    assert np.isfinite(out.audios).all() and np.abs(out.audios).max() > 0


def test_trajectories_fit_the_number_of_ones_own_clips(world, trained_teacher, tmp_path):
    config = distill_config(world, trained_teacher, tmp_path, trajectories=3000)
    assert [distill.fitting_trajectories(config, clips) for clips in (10, 80, 5000)] == [160, 320, 3000]
    for given, count in (({"trajectories": 100}, 100), ({"trajectories_per_clip": 0}, 3000)):
        assert distill.fitting_trajectories(dataclasses.replace(config, **given), 80) == count


class Rows:
    """Ten items whose latents hold their number."""

    captions = [f"caption {i}" for i in range(10)]
    scale_factor = 1.0
    shape = (1, 2, 2)

    def __len__(self):
        return len(self.captions)

    def __getitem__(self, index):
        return torch.full((1, 2, 2), float(index)), torch.full((1, 2, 2), -60.0), self.captions[index]


def test_batches_are_a_function_of_step_and_row():
    whole = LatentBatches(Rows(), 4, 0.5, seed=1)
    steps = [whole.batch(step, range(4)) for step in range(5)]
    seen = torch.cat([batch.latents[:, 0, 0, 0] for batch in steps]).round().int().tolist()
    assert sorted(seen[:10]) == list(range(10)) and sorted(seen[10:]) == list(range(10)) and seen[:10] != seen[10:]
    for step in (3, 0, 4):  # in any order, and in parts, as other processes see it
        again = LatentBatches(Rows(), 4, 0.5, seed=1)
        parts = [again.batch(step, range(2)), again.batch(step, range(2, 4))]
        assert torch.equal(torch.cat([part.latents for part in parts]), steps[step].latents)
        assert parts[0].captions + parts[1].captions == steps[step].captions
    dropped = sum(caption == "" for step in range(100) for caption in whole.batch(step, range(4)).captions)
    assert 0.4 < dropped / 400 < 0.6


def weights(folder):
    return load_file(folder / "diffusion_pytorch_model.safetensors")


class Stop(Exception):
    pass


def stop_after(module, steps, config):
    """Run `module.train` and break it off as a kill would, after the checkpoint of step `steps`."""
    save = Loop.save

    def save_and_stop(self, score):
        save(self, score)
        if self.position.step == steps:
            raise Stop

    Loop.save = save_and_stop
    try:
        with pytest.raises(Stop):
            module.train(config)
    finally:
        Loop.save = save
