"""The configurations that ship: each is understood, and their folders lead from one part to the next."""

import importlib

import pytest
import yaml
from corpus_fixture import write_corpus
from script_runs import ROOT

import ctm_train
from soundctm.config import load_config

MINI = ROOT / "configs" / "mini"
PART = {
    "ablation": "distill",
    "teacher_bundle": "teacher",
    "teacher_gpu": "teacher",
    "distill_gpu": "distill",
}  # those that are not called like their part


def loaded(name: str):
    module, kind, _ = ctm_train.PARTS[PART.get(name, name)]
    return load_config(getattr(importlib.import_module(module), kind), MINI / f"{name}.yaml")


@pytest.mark.parametrize("name", sorted(path.stem for path in MINI.glob("*.yaml")))
def test_a_shipped_configuration_says_what_the_training_takes(name):
    config = loaded(name)
    for key, value in yaml.safe_load((MINI / f"{name}.yaml").read_text()).items():
        kept = getattr(config, key)
        assert (list(kept) if isinstance(kept, tuple) else kept) == value, key


def test_the_ablations_begin_at_the_official_losses_and_the_shipped_parts():
    base = loaded("ablation")
    assert (base.loss_type, base.texture_weight, base.diffusion_training) == ("feature_space", 0.0, True)
    for folder in (base.codec, base.teacher):
        assert (ROOT / folder).is_dir()


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
