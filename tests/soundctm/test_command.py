"""What a command line says of options that there are not."""

from __future__ import annotations

import pytest

from soundctm.command import Parser
from soundctm.config import add_arguments
from soundctm.inference.options import InferenceOptions
from soundctm.training.tasks.distill import DistillConfig


def said(capsys, options, *arguments) -> str:
    parser = Parser(prog="ctm.py", allow_abbrev=False)
    add_arguments(parser, options)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


def test_a_misspelt_option_is_one_line_with_the_right_spelling(capsys):
    line = "error: there is no option --num_step (did you mean --num_steps?); `ctm.py --help` lists the options\n"
    assert said(capsys, InferenceOptions, "--num_step", "4") == line
    assert said(capsys, InferenceOptions, "--num_step=4") == line
    official = said(capsys, DistillConfig, "--unform_sampled_cfg_distil", "true")
    assert "(did you mean --uniform_sampled_cfg_distill?)" in official, "not the misspelt name that is taken, too"


def test_what_is_like_none_gets_no_guess_and_what_is_no_option_is_named(capsys):
    assert said(capsys, InferenceOptions, "--w_min", "5").startswith("error: there is no option --w_min; `ctm.py")
    assert said(capsys, InferenceOptions, "x", "y").startswith("error: nothing takes x y; ")


def test_the_help_calls_files_and_folders_so():
    parser = Parser()
    add_arguments(parser, InferenceOptions)
    shown = {action.dest: action.metavar for action in parser._actions}
    assert (shown["output_dir"], shown["test_file"], shown["prefix"]) == ("FOLDER", "FILE", "TEXT")
