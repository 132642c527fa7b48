"""Training and evaluation scripts: what cannot be done is said in one line."""

from __future__ import annotations

import sys

import pytest
from script_runs import ROOT, run_script


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metric", "fad"], "Frechet distance is not available yet"),
        (["--metric", "speed"], "'speed' is not available yet; available is class_accuracy"),
        (["--reference_dir", "references"], "is not available yet"),
        (["--corpus", "no/corpus"], "no/corpus"),
        (["--generated_dir", "no/wavs"], "no folder of generated wavs at no/wavs"),
    ],
)
def test_evaluation_never_pretends(tmp_path, arguments, says):
    script = str(ROOT / "numerical_evaluation.py")
    done = run_script(sys.executable, script, "--generated_dir", str(tmp_path), *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and says in done.stderr and done.stderr.count("\n") == 1


def test_evaluation_of_the_small_model_needs_the_corpus(tmp_path):
    done = run_script("bash", str(ROOT / "numerical_evaluation.sh"), CORPUS=str(tmp_path / "none"))
    assert done.returncode == 2 and done.stderr.startswith("error: no corpus at")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["singer"], "no part 'singer' to train"),
        (["vae", "--config", "no.yaml"], "no.yaml"),
        (["distill", "--lr", "fast"], "lr is 'fast'"),
        (["distill", "--teacher", "no/teacher"], "no/teacher"),
    ],
)
def test_training_refuses_what_it_cannot_do(tmp_path, arguments, says):
    done = run_script("bash", str(ROOT / "ctm_train.sh"), *arguments, "--output_dir", str(tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ") and says in done.stderr
