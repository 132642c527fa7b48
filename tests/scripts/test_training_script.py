"""`ctm_train.sh`: which trainings each of its modes runs, with which options, and one mode to the end and heard.

In the place of Python stands a program that writes down how it was called, and brings a tiny corpus where one would be
built from packages.
"""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
from corpus_fixture import write_corpus
from script_runs import ROOT, run_script

from soundctm.config import add_arguments, config_from_args
from soundctm.training.run import PARTS

SHIM = """#!/usr/bin/env bash
case "$*" in
*check_env.py*) ;;
*build_corpus*) cp -r {corpus}/. "$CORPUS" ;;
*) printf '%q ' "$@" >>{log}; echo >>{log}
   {then} ;;
esac
case "$*" in *check_env.py*) exec {python} "$@" ;; esac
"""
# What makes a training short; the modes themselves are for hours.
SHORT = """case "$*" in
   *"ctm_train.py distill"*) exec {python} "$@" --items 16 --validation_items 4 --sample_clips 0 --max_train_steps 2 \\
       --batch_size 2 --trajectories 4 --cache_dir {cache} ;;
   *) exec {python} "$@" --items 16 --validation_items 4 --sample_clips 0 --max_train_steps 2 \\
       --per_device_train_batch_size 2 --cache_dir {cache} ;;
   esac"""
MODES = {
    (): ["distill"],
    ("dit",): ["teacher", "distill"],
    ("all",): ["patches", "vocoder", "teacher", "distill"],
    ("corpus",): [],
    ("vae", "--config", "configs/mini/vae.yaml"): ["vae"],
    ("--config", "configs/mini/distill.yaml"): ["distill"],
}


@pytest.fixture
def called(tmp_path):
    """Runs the script with a mode; returns the finished process and the calls of Python, as words."""
    corpus = write_corpus(tmp_path / "tiny")

    def call(*mode: str, then: str = "true", **given: str):
        log, shim = tmp_path / "calls", tmp_path / "python"
        words = {"python": sys.executable, "cache": tmp_path / "cache"}
        shim.write_text(SHIM.format(corpus=corpus, log=log, then=then.format(**words), **words))
        shim.chmod(0o755)
        places = {"CORPUS": str(tmp_path / "corpus"), "OUTPUT": str(tmp_path / "exp")}
        done = run_script("bash", str(ROOT / "ctm_train.sh"), *mode, **places, SOUNDCTM_PYTHON=str(shim), **given)
        lines = log.read_text().splitlines() if log.exists() else []
        return done, [shlex.split(line) for line in lines]

    return call


def read(part: str, words: list[str]):
    """The configuration that `ctm_train.py part words` would run with. Raises where an option is not known."""
    module, name, _ = PARTS[part]
    module = importlib.import_module(module)
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    add_arguments(parser, getattr(module, name))
    return config_from_args(getattr(module, name), parser.parse_args(words))


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: " ".join(mode) or "none")
def test_a_mode_runs_its_trainings_with_options_that_exist(called, tmp_path, monkeypatch, mode):
    monkeypatch.chdir(ROOT)
    done, calls = called(*mode)
    assert done.returncode == 0, done.stderr
    assert [words[1] if words[1] in PARTS else "distill" for words in calls] == MODES[mode]
    made = {str(tmp_path / "exp" / part) for part in ("patches/codec", "vocoder/codec", "teacher/teacher")}
    made |= {str(tmp_path / "exp" / "dit-teacher" / "teacher")}
    for part, words in zip(MODES[mode], calls, strict=True):
        assert words[0] == str(ROOT / "ctm_train.py")
        config = read(part, words[2:] if words[1] in PARTS else words[1:])
        if mode[:1] in ((), ("dit",), ("all",)):  # the script's own trainings, one after the other
            for name in ("codec", "teacher", "vae"):
                given = getattr(config, name, None)
                assert not isinstance(given, str) or given in made or (ROOT / given).is_dir(), (part, name, given)
            assert str(tmp_path / "corpus") == config.corpus and Path(config.output_dir).is_relative_to(
                tmp_path / "exp"
            )


def test_a_launcher_starts_every_training(called):
    done, calls = called("dit", LAUNCH="accelerate launch --num_processes 2")
    assert done.returncode == 0, done.stderr
    launched = [
        "-m",
        "accelerate.commands.accelerate_cli",
        "launch",
        "--num_processes",
        "2",
        str(ROOT / "ctm_train.py"),
    ]
    assert [words[: len(launched) + 1] for words in calls] == [[*launched, part] for part in ("teacher", "distill")]


def test_the_modes_are_those_that_it_prints():
    text = (ROOT / "ctm_train.sh").read_text()
    printed = re.findall(r"^#   bash ctm_train.sh(?: (\w+))?", text, re.M)
    assert {name for name in printed if name} >= {mode[0] for mode in MODES if mode and mode[0] != "--config"}


@pytest.mark.slow
def test_the_small_transformer_from_nothing_to_a_clip(called, tmp_path):
    done, calls = called("dit", then=SHORT)
    assert done.returncode == 0, done.stderr
    assert len(calls) == 2
    model = tmp_path / "exp" / "dit-distill" / "model"
    arguments = ["--checkpoint", str(model), "--prompt", "a dog barking", "--output_dir", str(tmp_path / "heard")]
    heard = run_script(sys.executable, str(ROOT / "ctm_inference.py"), *arguments)
    assert heard.returncode == 0, heard.stderr
    assert (tmp_path / "heard" / "a_dog_barking.wav").stat().st_size > 80_000
