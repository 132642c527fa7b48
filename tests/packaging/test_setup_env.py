"""scripts/setup_env.sh in a checkout of its own, with a stand-in for uv that makes environments of empty packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# `uv venv` makes an environment, `uv pip install` puts the metadata of every pin there. Both write a line to calls.txt.
UV = """#!{python}
import os, pathlib, re, subprocess, sys, time
checkout = pathlib.Path({checkout!r})
arguments = sys.argv[1:]
if arguments == ["--version"]:
    sys.exit(0)
with open(checkout / "calls.txt", "a") as calls:
    calls.write(" ".join(arguments[:2]) + "\\n")
if arguments[0] == "venv":
    sys.exit(subprocess.run([{python!r}, "-m", "venv", "--without-pip", "--clear", arguments[-1]]).returncode)
if (checkout / "no_network").exists():
    sys.exit("cannot reach the index")
time.sleep(0.3)
site = next(checkout.glob(".venv/lib/python*/site-packages"))
for name, version in re.findall(r"^([\\w-]+)==(\\S+)", pathlib.Path(arguments[-1]).read_text(), re.M):
    for old in site.glob(f"{{name}}-*.dist-info"):
        (old / "METADATA").unlink()
        old.rmdir()
    folder = site / f"{{name}}-{{version}}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Name: {{name}}\\nVersion: {{version}}\\n")
"""


class Checkout:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        self.require("alpha==1.0", "beta==2.0")
        (folder / "main.sh").write_text(
            'set -euo pipefail\nsource "$(dirname "$0")/scripts/setup_env.sh"\n'
            'setup_env requirements.txt || exit\necho "$PYTHON${PYTHONDONTWRITEBYTECODE:+ without byte code}"\n'
        )
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.program("uv", UV.format(python=sys.executable, checkout=str(folder)))
        self.path = f"{self.bin}:/usr/bin:/bin"

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def require(self, *pins: str) -> None:
        (self.folder / "requirements.txt").write_text("# pins\n" + "\n".join(pins) + "  # why\n")

    def start(self, **environment: str) -> subprocess.Popen:
        env = {"PATH": self.path, "HOME": str(self.folder), **environment}
        command = ["bash", str(self.folder / "main.sh")]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, **environment: str) -> tuple[int, str, str]:
        process = self.start(**environment)
        out, err = process.communicate(timeout=120)
        return process.returncode, out.strip(), err.strip()

    def calls(self) -> list[str]:
        path = self.folder / "calls.txt"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "a checkout"
    folder.mkdir()
    return Checkout(folder)


def test_the_second_run_installs_nothing_and_is_quick(checkout):
    code, python, said = checkout.run()
    assert code == 0 and python == f"{checkout.folder}/.venv/bin/python", said
    assert checkout.calls() == ["venv --quiet", "pip install"]
    (checkout.folder / "no_network").touch()
    begun = time.perf_counter()
    assert checkout.run() == (0, python, "")
    assert time.perf_counter() - begun < 5.0
    assert len(checkout.calls()) == 2


def test_changed_requirements_are_installed_into_the_same_environment(checkout):
    checkout.run()
    checkout.require("alpha==1.1", "beta==2.0", "gamma==3.0")
    assert checkout.run()[0] == 0
    assert checkout.calls() == ["venv --quiet", "pip install", "pip install"]


def test_an_installation_that_was_killed_is_begun_afresh(checkout):
    checkout.run()
    (checkout.folder / ".venv" / ".installing").touch()
    (checkout.folder / ".venv" / "half").touch()
    code, python, said = checkout.run()
    assert code == 0 and "starting afresh" in said and not (checkout.folder / ".venv" / "half").exists()
    assert checkout.calls() == ["venv --quiet", "pip install"] * 2
    assert checkout.run() == (0, python, "")


def test_a_failed_installation_says_so_and_can_be_repeated(checkout):
    (checkout.folder / "no_network").touch()
    code, out, said = checkout.run()
    assert code == 2 and out == "" and "cannot reach the index" in said and "error: the packages of" in said
    (checkout.folder / "no_network").unlink()
    assert checkout.run()[0] == 0


def test_a_failed_update_leaves_the_environment_usable(checkout):
    _, python, _ = checkout.run()
    before = (checkout.folder / "requirements.txt").read_text()
    checkout.require("alpha==9.0")
    (checkout.folder / "no_network").touch()
    assert checkout.run()[0] == 2
    (checkout.folder / "requirements.txt").write_text(before)
    assert checkout.run() == (0, python, "")


def test_processes_that_start_together_install_once(checkout):
    started = [checkout.start() for _ in range(4)]
    assert [process.communicate(timeout=120)[0] and process.returncode for process in started] == [0] * 4
    assert checkout.calls() == ["venv --quiet", "pip install"]


def test_a_given_python_is_used_or_refused_but_never_changed(checkout):
    _, python, _ = checkout.run()
    other = checkout.folder / "other"
    shutil.copytree(checkout.folder / ".venv", other, symlinks=True)
    shutil.rmtree(checkout.folder / ".venv")
    assert checkout.run(SOUNDCTM_PYTHON=str(other / "bin" / "python")) == (0, str(other / "bin" / "python"), "")
    code, _, said = checkout.run(SOUNDCTM_PYTHON=sys.executable)
    assert code == 2 and "alpha==1.0 is missing" in said and said.count("\n") == 0
    code, _, said = checkout.run(SOUNDCTM_PYTHON="/no/python")
    assert code == 2 and "no program /no/python" in said
    assert len(checkout.calls()) == 2


def test_byte_code_is_kept_in_the_environment_that_belongs_to_the_checkout(checkout):
    """Without it every start compiles what it imports. In other environments the user decides."""
    own = f"{checkout.folder}/.venv/bin/python"
    assert checkout.run(PYTHONDONTWRITEBYTECODE="1")[:2] == (0, own)  # just installed
    assert checkout.run(PYTHONDONTWRITEBYTECODE="1")[:2] == (0, own)
    given = {"SOUNDCTM_PYTHON": own, "PYTHONDONTWRITEBYTECODE": "1"}
    assert checkout.run(**given)[:2] == (0, f"{own} without byte code")


def test_without_a_python_that_is_new_enough(checkout):
    """Only what the script needs is on PATH, with a python3 that is 3.9 and no uv."""
    for name in ("bash", "dirname", "basename", "rm", "flock", "cat"):
        os.symlink(shutil.which(name), checkout.bin / name)
    (checkout.bin / "uv").unlink()
    checkout.program("python3", '#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.9.2; exit 0; fi\nexit 1\n')
    checkout.path = str(checkout.bin)
    code, _, said = checkout.run()
    assert code == 2 and "needs Python 3.11" in said and "Python 3.9.2 is on PATH" in said
    assert not (checkout.folder / ".venv").exists()


def test_local_versions_satisfy_a_pin(checkout):
    checkout.run()
    site = next(checkout.folder.glob(".venv/lib/python*/site-packages"))
    (site / "alpha-1.0.dist-info" / "METADATA").write_text("Name: alpha\nVersion: 1.0+cpu\n")
    assert checkout.run()[0] == 0 and len(checkout.calls()) == 2
