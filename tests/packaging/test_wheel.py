"""A wheel unpacked far from the checkout: it has all that it needs, and leaves the name `audioldm` to others."""

import os
import subprocess
import sys
import zipfile

import pytest
import soundfile
from script_runs import ROOT

NAMES = """
import soundctm, soundctm.audioldm, importlib.util, sys
from soundctm import SoundCTMPipeline, places
assert places.INSTALLED and importlib.util.find_spec("audioldm") is None
pipe = SoundCTMPipeline.from_pretrained("mini", device="cpu")
assert pipe("a dog barking").audios.shape == (1, 40960)
from soundctm.checkpoints.official.unet import FULL_CONFIGS
from soundctm.data.corpus import DATA_FOLDER
assert (FULL_CONFIGS / "unet.json").is_file() and (DATA_FOLDER / "captions.yaml").is_file()
assert "audioldm" not in sys.modules
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python in an empty folder with the unpacked wheel, and not the checkout, on its path."""
    place, work = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("work")
    zipfile.ZipFile(wheel).extractall(place)

    def python(*arguments):
        env = {**os.environ, "PYTHONPATH": str(place), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run([sys.executable, *arguments], cwd=work, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    python.work = work
    return python


def test_a_file_from_anywhere(installed):
    installed("-m", "soundctm", "generate", "a dog barking", "-o", "dog.wav", "--device", "cpu")
    assert soundfile.info(installed.work / "dog.wav").frames == 40960


def test_names_and_files_from_python(installed):
    installed("-c", NAMES)


def test_a_wheel_holds_one_package_and_its_command(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    info = next(name for name in names if name.endswith("entry_points.txt"))
    assert zipfile.ZipFile(wheel).read(info).decode().split() == [
        "[console_scripts]",
        "soundctm",
        "=",
        "soundctm.commands:main",
    ]
    assert {name.split("/")[0] for name in names} == {"soundctm", info.split("/")[0]}
    page = {path.relative_to(ROOT).as_posix() for path in (ROOT / "soundctm/studio/page").rglob("*") if path.is_file()}
    assert page <= set(names) and "soundctm/studio/page/vendor/wavesurfer/LICENSE" in page
    assert "soundctm/audioldm/codec.py" in names and not any("__pycache__" in name for name in names)
    assert wheel.stat().st_size < 60 * 2**20
