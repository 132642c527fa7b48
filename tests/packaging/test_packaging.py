"""pyproject.toml, the requirement files and the scripts say the same."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from check_env import pins  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_dependency_is_pinned_inside_its_range():
    ranges = [Requirement(text) for text in PROJECT["dependencies"]]
    pinned = pins(ROOT / "requirements.txt")
    assert {r.name for r in ranges} == set(pinned)
    assert all(r.specifier.contains(pinned[r.name]) for r in ranges)
    extras = [Requirement(text) for group in PROJECT["optional-dependencies"].values() for text in group]
    pinned = pins(ROOT / "requirements-dev.txt")
    assert all(r.specifier.contains(pinned[r.name]) for r in extras)


def test_the_tests_run_with_the_pinned_versions():
    command = [sys.executable, str(ROOT / "scripts" / "check_env.py"), str(ROOT / "requirements-dev.txt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "script", sorted(ROOT.glob("*.sh")) + [ROOT / ".ci" / "run", ROOT / "scripts" / "setup_env.sh"]
)
def test_shell_scripts_parse_and_name_files_that_exist(script):
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    text = "\n".join(line for line in script.read_text().splitlines() if not line.lstrip().startswith("#"))
    for named in re.findall(r"\b(?:configs|data|scripts)/[\w/.-]+\.\w+", text):
        assert (ROOT / named).is_file() or named.startswith("data/corpus"), f"{script.name} names {named}"


def test_the_papers_command_is_made_of_options_that_exist():
    from soundctm.config import load_config
    from soundctm.training.tasks.distill import DistillConfig

    text = (ROOT / "ctm_train.sh").read_text().split("# The paper's run")[1]
    options = dict(re.findall(r"--(\w+) (\S+)", text.split("ctm_train.sh distill")[1].replace("\\\n#", " ")))
    places = {"train_file", "audio_dir"}  # which are there only on the reader's machine
    assert places <= options.keys() & {field.name for field in dataclasses.fields(DistillConfig)}
    given = load_config(DistillConfig, overrides={k: v for k, v in options.items() if k not in places})
    default = DistillConfig()
    assert (given.lr, given.start_scales, given.start_ema) == (default.lr, default.start_scales, default.start_ema)
