"""One folder per setting: names tell settings apart, finished clips are kept, times come from the manifest."""

import dataclasses

import pytest

from soundctm.errors import UserError
from soundctm.evaluation.models import generation
from soundctm.evaluation.models.generation import ClipMaker, Setting
from soundctm.inference.options import InferenceOptions

CAPTIONS = "file_name,caption\na.wav,rain\nb.wav,wind\nc.wav,a dog barking\n"


def student(sampler="deterministic", steps=2, omega=3.5, nu=1.0, gamma=0.5):
    return Setting.student("ema", sampler, steps, omega, nu, gamma)


@pytest.fixture
def maker(tiny_checkpoint, tmp_path, monkeypatch):
    """A maker of three clips; `maker.loads` lists the weights that were loaded."""
    (tmp_path / "captions.csv").write_text(CAPTIONS)
    options = InferenceOptions(
        checkpoint=str(tiny_checkpoint), test_file=str(tmp_path / "captions.csv"), batch_size=2, device="cpu"
    )
    made, load = ClipMaker(options, tmp_path / "out"), generation.load_pipeline
    made.loads = []

    def counted(options, device):
        made.loads.append(options.weights)
        return load(options, device)

    monkeypatch.setattr(generation, "load_pipeline", counted)
    return made


def test_settings_that_sound_the_same_are_the_same():
    assert student("cm_multistep", 1) == student("onestep", 8) == student("deterministic", 1, gamma=0.9)
    assert student("deterministic", gamma=0.1) == student("deterministic", gamma=0.9)
    several = [student(), student("cm_multistep"), student("gamma_multistep"), student("gamma_multistep", gamma=0.9)]
    several += [student(nu=1.5), student(omega=2.0), student(steps=4), Setting.teacher(2, 3.5), Setting.teacher(4, 3.5)]
    assert len({s.name for s in several}) == len(several)


def test_calls_of_the_network():
    assert student(steps=4).network_calls == 4 and student(steps=4, nu=1.5).network_calls == 8
    assert Setting.teacher(40, 3.5).network_calls == 158


def test_networks_are_loaded_once_and_finished_clips_kept(maker):
    for setting in (student(), student(nu=1.5), Setting.teacher(3, 2.0)):
        made = maker.make(setting)
        assert sorted(path.name for path in made.folder.glob("*.wav")) == ["a.wav", "b.wav", "c.wav"]
        assert made.seconds_per_clip > 0 and made.machine.startswith("cpu, ") and "batches of 2" in made.machine
    assert maker.loads == ["ema", "teacher"]
    first = maker.folder / student().name
    (first / "b.wav").unlink()
    kept = (first / "a.wav").stat().st_mtime_ns
    again = ClipMaker(maker.options, maker.folder)
    assert again.make(student()).seconds_per_clip > 0
    assert (first / "a.wav").stat().st_mtime_ns == kept and (first / "b.wav").exists()
    again.make(student())
    assert maker.loads == ["ema", "teacher", "ema"]


def test_wavs_of_other_captions_are_refused(maker, tmp_path):
    folder = maker.make(student()).folder
    (tmp_path / "captions.csv").write_text(CAPTIONS.replace("c.wav,a dog barking\n", ""))
    with pytest.raises(UserError, match="c.wav"):
        ClipMaker(maker.options, maker.folder).make(student())
    assert (folder / "c.wav").exists()


def test_clips_of_another_seed_are_refused_unless_overwritten(maker):
    before = (maker.make(student()).folder / "a.wav").read_bytes()
    other = dataclasses.replace(maker.options, seed=7)
    with pytest.raises(UserError, match="overwrite"):
        ClipMaker(other, maker.folder).make(student())
    made = ClipMaker(dataclasses.replace(other, overwrite=True), maker.folder).make(student())
    assert (made.folder / "a.wav").read_bytes() != before


def test_which_networks_there_are(maker, student_checkpoint):
    assert maker.has_weights("teacher") and maker.has_weights("ema")
    options = dataclasses.replace(maker.options, checkpoint=str(student_checkpoint))
    assert not ClipMaker(options, maker.folder).has_weights("teacher")
