"""The configurations that ship: each is understood, and their folders lead from one part to the next."""

import dataclasses
import importlib

import pytest
import torch
import yaml
from corpus_fixture import write_corpus
from script_runs import ROOT

import ctm_train
from soundctm.checkpoints import load_codec
from soundctm.checkpoints.layout import read_json
from soundctm.config import load_config
from soundctm.networks import backbone
from soundctm.training.inputs.batches import mixed_rows
from soundctm.training.tasks.distill import DistillConfig

CONFIGS = ROOT / "configs"
FOLDERS = ("mini", "mini-dit", "dit")
NAMES = sorted(str(path.relative_to(CONFIGS).with_suffix("")) for f in FOLDERS for path in (CONFIGS / f).glob("*.yaml"))
PART = {
    "ablation": "distill",
    "teacher_bundle": "teacher",
    "teacher_gpu": "teacher",
    "distill_gpu": "distill",
}  # those that are not called like their part


def loaded(name: str):
    stem = name.split("/")[-1]
    module, kind, _ = ctm_train.PARTS[PART.get(stem, stem.split("_v")[0])]
    return load_config(getattr(importlib.import_module(module), kind), CONFIGS / f"{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_configuration_says_what_the_training_takes(name):
    config = loaded(name)
    for key, value in yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()).items():
        kept = getattr(config, key)
        assert (list(kept) if isinstance(kept, tuple) else kept) == value, key


def test_the_ablations_begin_at_the_official_losses_and_the_shipped_parts():
    base = loaded("mini/ablation")
    assert (base.loss_type, base.texture_weight, base.diffusion_training) == ("feature_space", 0.0, True)
    for folder in (base.codec, base.teacher):
        assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("version, text, parameters", [("v1", 512, 1_035_725_952), ("v2", 768, 1_052_109_952)])
def test_the_full_transformer_is_distilled_with_the_official_settings(version, text, parameters):
    teacher, config = loaded(f"dit/teacher_{version}"), loaded(f"dit/distill_{version}")
    official = DistillConfig(
        sigma_data=0.5, w_min=1.0, w_max=10.0, denoising_weight=0.2, per_device_train_batch_size=24, highpass=0.0,
        mix_share=3 / 24, lr=8e-5, start_ema=0.999, model_grad_clip_value=1000.0, total_training_steps=30000,
        uncond_prob=0.1, polarity=0.0, start_scales=40, num_heun_step=39, loss_type="feature_space", match_point="zs",
        unet_mode="full", mixed_precision="no",
    )  # fmt: skip
    ours = (
        "codec", "text_encoder_name", "teacher", "output_dir", "sample_omega", "gradient_checkpointing",
        "validation_every", "checkpointing_steps",
    )  # fmt: skip
    changed = {name: getattr(config, name) for name in ours}
    assert config == dataclasses.replace(official, **changed) and config.sample_omega == 5.0
    assert len(mixed_rows(24, config.mix_share)) == 3
    for name in ("codec", "text_encoder_name", "sigma_data", "per_device_train_batch_size", "mix_share", "highpass"):
        assert getattr(teacher, name) == getattr(config, name), name
    assert config.teacher == f"{teacher.output_dir}/teacher"
    shape = read_json(ROOT / teacher.unet_model_config)
    with torch.device("meta"):
        network = backbone(shape, version).student.from_config({k: v for k, v in shape.items() if k[0] != "_"})
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    network.check_latents((64, 432))
    assert network.config.cross_attention_input_dim == text


def test_the_small_transformer_takes_what_the_small_codec_gives():
    teacher, config = loaded("mini-dit/teacher"), loaded("mini-dit/distill")
    assert config.teacher == f"{teacher.output_dir}/teacher" and config.codec == teacher.codec == "ckpt/mini/codec"
    shape = read_json(ROOT / teacher.unet_model_config)
    with torch.device("meta"):
        network = backbone(shape, "mini").teacher.from_config({k: v for k, v in shape.items() if k[0] != "_"})
    network.check_latents(load_codec(ROOT / teacher.codec).latent_shape())
    assert 7e6 < sum(parameter.numel() for parameter in network.parameters()) < 15e6


@pytest.mark.parametrize(
    "flags",
    [
        ("distill", "--teacher", "ckpt/mini/teacher", "--codec"),
        ("distill", "--codec", "ckpt/mini/codec", "--teacher"),
        ("teacher", "--codec"),
        ("teacher", "--codec", "ckpt/mini/codec", "--init"),
        ("teacher", "--codec", "ckpt/mini/codec", "--unet_model_config"),
        ("distill", "--codec", "ckpt/mini/codec", "--teacher", "ckpt/mini/teacher", "--init"),
        ("vocoder", "--vae"),
        ("vocoder", "--vae", "ckpt/mini/codec", "--init"),
        ("vae", "--init"),
        ("patches", "--vocoder_from"),
    ],
    ids=" ".join,
)
def test_a_folder_that_is_not_there_is_named(flags, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    common = ["--corpus", str(write_corpus(tmp_path / "corpus")), "--output_dir", str(tmp_path / "out")]
    if flags[0] != "patches":
        common += ["--cpu", "true", "--mixed_precision", "no"]  # as other tests in this process
    assert ctm_train.main([*flags, "no_folder", *common]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "no_folder" in error and error.count("\n") == 1
