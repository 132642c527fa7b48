"""Training scripts: what cannot be done is said in one line."""

from __future__ import annotations

import pytest
from script_runs import ROOT, run_script


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
