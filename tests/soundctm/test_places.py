"""The files that come with the code, from whatever folder one works in."""

import subprocess
import tomllib

from script_runs import ROOT

from soundctm import places
from soundctm.checkpoints.loading import local_folder
from soundctm.places import shipped


def test_a_model_is_found_by_its_name_and_a_file_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shipped("mini") == shipped("ckpt/mini") == str(ROOT / "ckpt" / "mini") == str(local_folder("mini", ()))
    assert shipped("configs/mini/unet.json") == str(ROOT / "configs/mini/unet.json")
    assert shipped("data/demo_captions.csv") == str(ROOT / "data/demo_captions.csv")


def test_what_lies_here_comes_first_and_nothing_else_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "owner/model",
        "soundctm",
        "README.md",
        "data/../README.md",
        "../ckpt/mini",
        "data/none.csv",
        "ckpt",
        "",
    ):
        assert shipped(name) == name
    (tmp_path / "mini").mkdir()
    assert shipped("mini") == "mini"
    assert shipped(tmp_path / "ckpt" / "mini") == str(tmp_path / "ckpt" / "mini")


def test_hub_repositories_that_the_code_names_are_pinned():
    from soundctm.checkpoints.official.unet import FLAN_T5
    from soundctm.evaluation.extractors.clap import RELEASES

    named = {FLAN_T5, *(release.recommended for release in RELEASES.values())}
    assert named <= set(places.REVISIONS) and all(len(commit) == 40 for commit in places.REVISIONS.values())


def test_a_wheel_has_every_file_of_those_folders():
    forced = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ]
    tracked = subprocess.run(
        ["git", "ls-files", *places.FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(tracked) > 20
    for file in tracked:
        if file != "data/README.md":
            assert any(file == place or file.startswith(f"{place}/") for place in forced), (
                f"pyproject.toml lacks {file}"
            )
