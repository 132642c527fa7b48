"""The official command line: live flags are fields, dead ones are accepted where they do nothing and refused else."""

import argparse
import dataclasses

import pytest

from soundctm.config import add_arguments, config_from_args
from soundctm.distillation import DistillationConfig, add_dead_flags
from soundctm.distillation.official_flags import DEAD_FLAGS
from soundctm.errors import UserError
from soundctm.training.tasks.distill import DistillConfig


def parse(*arguments: str) -> DistillationConfig:
    parser = argparse.ArgumentParser()
    add_arguments(parser, DistillationConfig)
    add_dead_flags(parser)
    return config_from_args(DistillationConfig, parser.parse_args(arguments))


def test_what_the_official_command_says_of_the_step():
    config = parse(
        *"--freeze_text_encoder --num_train_epochs 40 --loss_type feature_space --match_point zs --unet_mode full "
        "--w_min 2.0 --w_max 5.0 --unform_sampled_cfg_distill True --num_heun_step 39 --start_scales 40 "
        "--end_scales 40 --diffusion_training True --denoising_weight 1.0".split()
    )
    assert config == DistillationConfig()


def test_misspelt_flags_are_aliases():
    assert parse("--unform_sampled_cfg_distill", "False") == DistillationConfig(uniform_sampled_cfg_distill=False)
    assert parse("--uniform_sampled_cfg_distill", "no") == DistillationConfig(uniform_sampled_cfg_distill=False)


def test_every_dead_flag_is_refused_with_its_reason_unless_it_is_harmless():
    live = {name for field in dataclasses.fields(DistillConfig) for name in (field.name, *field.metadata["aliases"])}
    assert not live & set(DEAD_FLAGS)
    for name, flag in DEAD_FLAGS.items():
        for value in flag.harmless:
            assert parse(f"--{name}", value) == DistillationConfig()
        with pytest.raises(UserError) as caught:
            parse(f"--{name}", "something")
        assert flag.reason in str(caught.value) and f"--{name} something" in str(caught.value)


@pytest.mark.parametrize("name, value", [("scale_mode", "progdist"), ("loss_type", "lpips"), ("unet_mode", "third")])
def test_a_dead_value_of_a_live_flag_names_the_live_ones(name, value):
    with pytest.raises(UserError, match=f"{name} is '{value}'; it must be one of"):
        parse(f"--{name}", value)
