"""The configurations that ship: each is understood, and their folders lead from one part to the next."""

import importlib

import pytest
import yaml
from script_runs import ROOT

import ctm_train
from soundctm.config import load_config

MINI = ROOT / "configs" / "mini"
PART = {"ablation": "distill"}  # those that are not called like their part


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
