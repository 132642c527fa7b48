"""The installations that README and docs print, with pip and uv, for every Python that is here, oldest and newest.

Nightly, because they fetch packages by the gigabyte. Beyond a `.venv` beside the code nothing is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import soundfile
from printed import PAGES, ROOT, commands

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

PRINTED = {command for page in PAGES for command in commands(page)}
OWN = ("PYTHONPATH", "SOUNDCTM_PYTHON", "VIRTUAL_ENV")  # settings of the tests that a reader lacks
FIRST = 'soundctm generate "a dog barking" -o dog.wav'
PYTHONS = ("3.11", "3.12", "3.13")
USED = ("eval", "shards", "loudness", "track")  # extras that add to what is there
START = 0.3  # seconds that `import soundctm` may take beyond Python's own start
IMPORT = """
import subprocess, sys, time
def start(code):
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begun
print(min(start("import soundctm") - start("") for _ in range(5)))
"""


def sh(command: str, folder: Path, **settings: str) -> str:
    """What the command prints, which must end with 0."""
    env = {key: value for key, value in os.environ.items() if key not in OWN} | settings
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def environment(version: str, folder: Path) -> dict[str, str]:
    """A new environment of that Python, as settings that an activated one has."""
    try:
        python = next(p for p in candidates(version) if run_version(p) == version)
    except StopIteration:
        pytest.skip(f"there is no Python {version}")
    subprocess.run([python, "-m", "venv", folder], check=True)
    return {"VIRTUAL_ENV": str(folder), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def candidates(version: str) -> list[str]:
    roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = shutil.which(f"python{version}")
    return [*map(str, roots.glob(f"{version}.*/bin/python")), *([named] if named else [])]


def run_version(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def check(folder: Path, settings: dict[str, str]) -> None:
    """What an installation must be able to do, outside of the checkout and without a network."""
    folder.mkdir()
    sh(FIRST, folder, **settings, HF_HUB_OFFLINE="1")
    assert soundfile.info(folder / "dog.wav").frames == 40_960
    assert "torch" in sh("soundctm info", folder, **settings)
    assert float(sh(f"python -c '{IMPORT}'", folder, **settings)) < START


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("installing") / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def here(tmp_path):
    """A folder that is removed at once: an environment has five gigabytes."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def test_with_pip_as_printed(clone, here):
    assert {"pip install .", FIRST} <= PRINTED
    settings = environment(".".join(map(str, sys.version_info[:2])), here / "venv")
    sh("pip install .", clone, **settings)
    sh("pip check", clone, **settings)
    check(here / "work", settings)


@pytest.mark.parametrize("versions", ["oldest", "newest"])
@pytest.mark.parametrize("python", PYTHONS)
def test_with_uv(clone, here, python, versions):
    """As printed, newest; and every package at the oldest version that pyproject.toml allows."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("there is no uv")
    settings = environment(python, here / "venv")
    settings["PATH"] += f"{os.pathsep}{Path(uv).parent}"
    assert "uv pip install ." in PRINTED
    (here / "oldest.txt").write_text("\n".join(oldest()))
    if versions == "oldest":
        sh(f"uv pip install -c {here / 'oldest.txt'} '.[{','.join(USED)}]'", clone, **settings)
    else:
        sh("uv pip install .", clone, **settings)
    sh("uv pip check", clone, **settings)
    check(here / "work", settings)


def oldest() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = [*project["dependencies"], *(r for extra in USED for r in project["optional-dependencies"][extra])]
    return [re.sub(r"(\[.*\])?>=([\d.]+).*", r"==\2", text) for text in ranges]


def test_without_installing_anything_by_hand(clone):
    """The demo's script makes an environment; once it is active, `python` of the README finds it."""
    own = next(c for c in commands(ROOT / "README.md") if c.startswith("python ctm_inference.py --prompt"))
    sh(f"bash ctm_inference.sh && source .venv/bin/activate && {own}", clone)
    assert list((clone / "outputs" / "mine").glob("*.wav")) and len(list((clone / "outputs/demo").glob("*.wav"))) == 12
