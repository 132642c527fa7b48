"""Which settings a sweep measures."""

import argparse

import pytest

from soundctm.config import add_arguments, config_from_args
from soundctm.errors import UserError
from soundctm.evaluation.models.generation import Setting
from soundctm.evaluation.models.sweep.options import SweepOptions, base, plan, teacher_base

GIVEN = {"captions": "captions.csv", "reference_dir": "real"}


def parsed(*flags):
    parser = argparse.ArgumentParser()
    add_arguments(parser, SweepOptions)
    return config_from_args(SweepOptions, parser.parse_args(["--captions", "c.csv", "--reference_dir", "r", *flags]))


def test_the_default_is_a_star_around_the_defaults_of_inference():
    settings = plan(SweepOptions(**GIVEN))
    assert len(settings) == len(set(settings))
    students = [s for s in settings if not s.is_teacher]
    middle = base(SweepOptions(**GIVEN))
    assert middle == Setting("ema", "deterministic", 4, 3.5, 1.0)  # of ckpt/mini
    for s in students:
        differs = [(s.sampler, s.steps) != (middle.sampler, middle.steps), s.omega != middle.omega, s.nu != middle.nu]
        assert sum(differs) <= 1
    assert {(s.sampler, s.steps) for s in students} == {("deterministic", 1)} | {
        (sampler, steps) for sampler in ("deterministic", "gamma_multistep", "cm_multistep") for steps in (2, 4, 8, 16)
    }
    assert {s.omega for s in students} == {2.0, 3.5, 5.0} and {s.nu for s in students} == {1.0, 1.5}
    teachers = [(s.steps, s.omega) for s in settings if s.is_teacher]
    assert teachers == [(10, 3.5), (20, 3.5), (40, 3.5), (10, 2.0), (10, 5.0)]


def test_the_full_grid_is_the_product_with_one_jump_once():
    settings = plan(SweepOptions(**GIVEN, full_grid=True))
    assert len([s for s in settings if s.is_teacher]) == 9
    # three samplers at four numbers of steps and one jump, times three omegas and two nus
    assert len([s for s in settings if not s.is_teacher]) == (3 * 4 + 1) * 3 * 2


def test_lists_without_the_default_begin_at_their_first_value():
    options = parsed("--steps", "4", "2", "--omega", "5", "2", "--nu", "1.5", "--samplers", "cm_multistep",
                     "--teacher_steps", "20", "10", "--teacher_omega", "4")  # fmt: skip
    assert base(options) == Setting("ema", "cm_multistep", 4, 5.0, 1.5)
    assert teacher_base(options) == Setting.teacher(10, 4.0)


@pytest.mark.parametrize("flags", [("--steps", "1", "2", "4"), ("--steps", "1,2,4"), ("--steps", "1 2 4")])
def test_lists_are_given_in_any_usual_way(flags):
    assert parsed(*flags).steps == (1, 2, 4)


def test_no_teacher_steps_no_teacher():
    options = parsed("--teacher_steps", "")
    assert teacher_base(options) is None and not any(s.is_teacher for s in plan(options))


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--samplers", "euler"), "no sampler 'euler'; they are"),
        (("--metrics", "fad", "class_accuracy"), "no metric 'class_accuracy'; they are"),
        (("--steps", "0"), "num_steps is 0"),
        (("--teacher_steps", "1"), "at least 2"),
        (("--gamma", "1.5"), "gamma is 1.5"),
        (("--omega", "inf"), "omega is inf"),
        (("--nu", ""), "nu is empty"),
        (("--prompts", "p.csv"), "--corpus"),
        (("--captions", ""), "--captions"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(flags, message):
    with pytest.raises(UserError, match=message):
        parsed(*flags)
