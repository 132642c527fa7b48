"""One set of defaults per model: in its index, and the same in every interface."""

import dataclasses
import json
import warnings
from pathlib import Path

import pytest
import tiny

from soundctm.checkpoints.layout import INDEX, Index, read_defaults
from soundctm.defaults import Defaults, SamplingWarning, Settings, settle
from soundctm.errors import UserError
from soundctm.inference.model import checkpoint_defaults
from soundctm.inference.options import InferenceOptions
from soundctm.inference.run import run
from soundctm.pipeline import SoundCTMPipeline

ROOT = Path(__file__).parents[2]
MINI = ROOT / "ckpt" / "mini"
OWN = Defaults(
    steps=3, sampler="gamma_multistep", omega=4.0, nu=1.0, gamma=0.2, omega_range=(3.0, 6.0), teacher_steps=5
)


def test_the_small_model_says_what_its_table_measured():
    expected = Defaults(4, "deterministic", 3.5, 1.0, 0.5, (3.0, 6.0), 20, 2.56, 16000)
    assert read_defaults(MINI) == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny.write_checkpoint(tmp_path_factory.mktemp("defaults"))
    index = Index.read(folder)
    assert (index.sampling.seconds, index.sampling.sampling_rate) == (tiny.SECONDS, 16000)  # of the codec
    own = dataclasses.replace(OWN, seconds=tiny.SECONDS, sampling_rate=16000)
    dataclasses.replace(index, sampling=own).write(folder)
    assert Index.read(folder).sampling == own
    return folder


@pytest.mark.parametrize("weights, row", [
    ("ema", {"sampler": "gamma_multistep", "steps": "3", "omega": "4", "nu": "1", "gamma": "0.2"}),
    ("teacher", {"sampler": "heun", "steps": "5", "omega": "4", "nu": "", "gamma": ""}),
])  # fmt: skip
def test_command_and_pipeline_take_the_checkpoints_defaults(folder, tmp_path, weights, row):
    import csv

    import soundfile

    options = InferenceOptions(
        prompt=("rain",), checkpoint=str(folder), weights=weights, output_dir=str(tmp_path), device="cpu"
    )
    run(options)
    (made,) = csv.DictReader((tmp_path / "manifest.csv").open(encoding="utf-8"))
    assert {name: made[name] for name in row} == row
    assert (made["sampling_rate"], made["target_length"]) == ("16000", f"{tiny.SECONDS:g}")
    pipe = SoundCTMPipeline.from_pretrained(folder, weights, device="cpu")
    seen = []
    out = pipe("rain", callback_on_step_end=lambda p, k, t, kept: seen.append((k, kept["latents"].dtype)))
    assert [k for k, _ in seen] == list(range(int(row["steps"]))) and len({dtype for _, dtype in seen}) == 1
    wav, _ = soundfile.read(tmp_path / "rain.wav", dtype="float32")
    assert abs(out.audios[0] - wav).max() < 2 / 32768, "the same default seed, too"


def test_an_older_folder_is_read_with_what_its_parts_say(folder, tmp_path):
    values = json.loads((MINI / INDEX).read_text())
    del values["sampling"]
    (tmp_path / INDEX).write_text(json.dumps(values))
    assert read_defaults(tmp_path) == Defaults()
    (tmp_path / "training_config.yaml").write_text("w_min: 4.0\nw_max: 6.0\n")
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "config.json").write_text((MINI / "codec" / "config.json").read_text())
    expected = Defaults(omega=4.0, omega_range=(4.0, 6.0), seconds=2.56, sampling_rate=16000)
    assert read_defaults(tmp_path) == expected
    assert checkpoint_defaults(InferenceOptions(prompt=("x",), checkpoint=str(tmp_path))) == expected


@pytest.mark.parametrize("values", [
    {"steps": 0}, {"steps": 1.5}, {"steps": "4"}, {"steps": True}, {"omega": "none"}, {"gamma": 2},
    {"sampler": "euler"}, {"omega_range": [6, 3]}, {"omega_range": [1]}, {"omega_range": 3}, {"teacher_steps": 1},
    {"seconds": -1},
    {"step": 4}, [], "four", {"nu": float("nan")},
])  # fmt: skip
def test_a_damaged_table_is_one_sentence_with_the_file(values):
    with pytest.raises(UserError, match="^index.json: `sampling`"):
        Defaults.of_index(values, "index.json")


@pytest.mark.parametrize("weights, given, settings, words", [
    ("ema", {}, Settings("gamma_multistep", 3, 4.0, 1.0, 0.2), []),
    ("ema", {"omega": 50}, Settings("gamma_multistep", 3, 50, 1.0, 0.2), ["omega 50 is outside 3 to 6"]),
    ("ema", {"omega": "none"}, Settings("gamma_multistep", 3, None, 1.0, 0.2), []),
    ("ema", {"sampler": "cm_multistep", "gamma": 0.3}, Settings("cm_multistep", 3, 4.0, 1.0, None), ["gamma 0.3"]),
    ("ema", {"sampler": "onestep"}, Settings("onestep", 1, 4.0, 1.0, None), []),
    ("ema", {"sampler": "onestep", "steps": 8}, Settings("onestep", 1, 4.0, 1.0, None), ["8 steps have no effect"]),
    ("teacher", {"omega": 50}, Settings("heun", 5, 50, None, None), []),
    ("teacher", {"nu": 3, "sampler": "cm_multistep", "gamma": 0.1}, Settings("heun", 5, 4.0, None, None),
     ["nu 3 has no", "gamma 0.1 has no", "sampler cm_multistep has no"]),
])  # fmt: skip
def test_nothing_given_is_ignored_without_a_word(weights, given, settings, words):
    found, remarks = settle(OWN, weights, **given)
    assert found == settings
    assert len(remarks) == len(words) and all(any(w in r for r in remarks) for w in words), remarks


def test_the_pipeline_warns_once_and_at_the_callers_line(folder):
    pipe = SoundCTMPipeline.from_pretrained(folder, "teacher", device="cpu")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            pipe("rain", 2, nu=3.0)
    assert [(w.category, w.filename) for w in caught] == [(SamplingWarning, __file__)]


def test_the_command_says_what_it_ignores(folder, tmp_path, caplog):
    command = InferenceOptions(
        prompt=("rain",), checkpoint=str(folder), output_dir=str(tmp_path), device="cpu", omega=1.0,
        stage1_ckpt="ckpt/audioldm-s-full.ckpt", sigma_data=0.25,
    )  # fmt: skip
    with caplog.at_level("WARNING"), warnings.catch_warnings():
        warnings.simplefilter("error")  # what was said once is not said again for every batch
        run(command)
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 3 and "stage1_ckpt" in said[1] and "sigma_data" in said[0] and "outside 3 to 6" in said[2]
