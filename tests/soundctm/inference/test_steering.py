"""Options that steer: refused before a model is loaded, kept in the manifest, taken up again by --refine."""

import csv
import json

import numpy as np
import pytest
import soundfile
import tiny

from soundctm.inference import run as run_module


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(8000) * 0.1), 8000)  # 1 s at another rate
    return str(path)


@pytest.mark.parametrize("arguments, words", [
    (["--strength", "0.5"], "needs --init_audio"),
    (["--init_audio", "CLIP"], "give one of --strength"),
    (["--init_audio", "CLIP", "--strength", "1.5"], "strength is 1.5"),
    (["--init_audio", "none.wav", "--strength", "0.5"], "no sound file at none.wav"),
    (["--init_audio", "TEXT", "--strength", "0.5"], "cannot be read as a sound file"),
    (["--init_audio", "CLIP", "--inpaint", "0.5-1.5"], "which has 1 s"),
    (["--init_audio", "CLIP", "--inpaint", "x"], "no region"),
    (["--init_audio", "CLIP", "--inpaint", "0-0.5", "--extend_after", "1"], "inpaint and extend"),
    (["--init_audio", "CLIP", "--extend_after", "6000"], "limit"),
    (["--init_audio", "CLIP", "--bands", "5-2"], "the band"),
    (["--init_audio", "CLIP", "--loop", "--seam", "3"], "does not fit"),
    (["--init_audio", "CLIP", "--inpaint", "0.1-0.2", "--repaint", "1000000000"], "0 (one pass) to 1000 times"),
    (["--prompt", "a", "--control", "intensity", "--curve", "rise", "--control_iterations", "100000"], "up to 10000"),
    (["--control", "intensity"], "belong together"),
    (["--control", "intensity", "--curve", "0:1 0:2"], "two points at 0 s"),
    (["--control", "intensity", "--curve", "0:1 9:2", "--target_length", "2"], "goes to 9 s"),
    (["--control", "volume", "--curve", "rise"], "intensity"),
    (["--blend_prompt", "b", "--blend_share", "x"], "blend_share"),
    (["--negative_prompt", "b", "--nu", "1"], "no effect at nu 1"),
    (["--rank", "worst"], "all, best"),
    (["--refine", "x.csv:1"], "no row of a manifest"),
])  # fmt: skip
def test_refused_before_a_model_is_loaded(infer, capsys, clip, tmp_path, monkeypatch, arguments, words):
    (tmp_path / "text.wav").write_text("no sound")
    monkeypatch.setattr(run_module, "load_pipeline", lambda *a: pytest.fail("a model was loaded"))
    arguments = [{"CLIP": clip, "TEXT": str(tmp_path / "text.wav")}.get(a, a) for a in arguments]
    prompt = [] if "--refine" in arguments else ["--prompt", "rain"]
    assert infer(*prompt, *arguments) == 2
    assert words in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.wav"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny.write_checkpoint(tmp_path_factory.mktemp("steering"), teacher=False))


@pytest.fixture
def make(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(folder, *arguments):
        command = ["--checkpoint", model, "--output_dir", str(tmp_path / folder), "--device", "cpu", "--keep_silent"]
        assert run_module.main([*command, *arguments]) == 0
        with open(tmp_path / folder / "manifest.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        return rows, [soundfile.read(tmp_path / folder / row["file"])[0] for row in rows]

    return call


@pytest.mark.parametrize("arguments", [
    ["--strength", "0.3"], ["--inpaint", "0.2-0.4", "--repaint", "2"], ["--extend_before", "0.5"], ["--loop"],
    ["--bands", "4000-8000"],
])  # fmt: skip
def test_edits_are_repeated_by_the_same_command(make, clip, arguments):
    command = ["--prompt", "rain", "--init_audio", clip, "--num_steps", "2", *arguments]
    (row,), (sound,) = make("a", *command)
    assert json.loads(row["steering"])["init_audio"] == clip and row["target_length"] == ""
    assert len(sound) == (24000 if "--extend_before" in arguments else 16000)
    _, (again,) = make("b", *command)
    _, (replayed,) = make("c", "--manifest", "a/manifest.csv")
    assert (sound == again).all() and (sound == replayed).all()


def test_control_is_repeated_by_the_same_command_and_by_its_manifest(make):
    command = ["--prompt", "rain", "--num_steps", "2", "--control", "intensity", "--curve", "0:-40 0.6:-20"]
    flags = ["--control_method", "noise", "--control_iterations", "2", "--control_candidates", "3"]
    (row,), (sound,) = make("a", *command, *flags)
    assert json.loads(row["steering"]) == {
        "control": "intensity", "curve": "0:-40 0.6:-20", "control_method": "noise", "control_iterations": 2,
        "control_candidates": 3,
    }  # fmt: skip
    (again,), (same,) = make("b", "--manifest", "a/manifest.csv")
    assert (sound == same).all() and again["control_error"] == row["control_error"]
    _, (refined,) = make("c", "--refine", "a/manifest.csv:1", "--num_steps", "2")
    assert (sound == refined).all()
    (plain,), _ = make("d", *command)
    assert plain["control_error"] != row["control_error"]


def test_another_sound_is_another_clip(make, clip, tmp_path):
    command = ["--prompt", "rain", "--init_audio", clip, "--strength", "0.3"]
    make("a", *command)
    soundfile.write(clip, np.zeros(8000), 8000)
    assert run_module.main(["--output_dir", str(tmp_path / "a"), "--checkpoint", "none", *command]) == 2


def test_control_blend_and_ranking_are_in_the_manifest(make, monkeypatch):
    import soundctm.ranking as ranking

    monkeypatch.setattr(ranking, "load_agreement", lambda encoder: lambda c, x, r: [float(k) for k in range(len(c))])
    rows, _ = make(
        "a", "--prompt", "rain", "--control", "intensity", "--curve", "rise", "--blend_prompt", "wind",
        "--blend_share", "0:1", "--num_samples", "3", "--rank", "all",
    )  # fmt: skip
    assert len(rows) == 3 and [row["score"] for row in rows] == ["0", "0", "0"]
    assert all(float(row["control_error"]) > 0 and json.loads(row["steering"])["curve"] == "rise" for row in rows)
    (best,), _ = make("b", "--prompt", "rain", "--num_samples", "3", "--rank", "best")
    assert best["score"] == "2" and best["chosen_seed"] != best["seed"]


def test_a_draft_is_refined(make, tmp_path):
    drafts, _ = make("a", "--prompt", "rain", "--prompt", "bells", "--num_samples", "2", "--blend_seed", "3")
    (row,), (sound,) = make("b", "--refine", f"{tmp_path}/a/manifest.csv:{drafts[2]['file']}")
    assert row["caption"] == "bells" and row["seed"] == drafts[2]["seed"] and row["steps"] == "4"
    assert row["steering"] == drafts[2]["steering"] and row["file"] == "bells_0_4steps.wav"
    (third,), (same,) = make("c", "--refine", f"{tmp_path}/a/manifest.csv:3")
    assert (same == sound).all()
    (sixteen,), _ = make("d", "--refine", f"{tmp_path}/a/manifest.csv:3", "--num_steps", "16")
    assert sixteen["steps"] == "16"


def test_a_row_that_is_not_there(infer, capsys, make, tmp_path):
    make("a", "--prompt", "rain")
    for row, words in (("9", "has no row 9"), ("x.wav", "has no row x.wav")):
        assert infer("--refine", f"{tmp_path}/a/manifest.csv:{row}") == 2
        assert words in capsys.readouterr().err
