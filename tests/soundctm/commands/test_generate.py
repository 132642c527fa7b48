"""`soundctm generate` and `soundctm edit`: one clip in a file of the wanted kind, several in a folder."""

import numpy as np
import pytest
import soundfile

from soundctm.commands import main


def refused(capsys, *says):
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and all(text in error[0] for text in says), error


@pytest.mark.parametrize(("name", "subtype", "kind"), [
    ("dog.wav", None, "PCM_16"), ("dog.wav", "24", "PCM_24"), ("dog.wav", "float", "FLOAT"),
    ("dog.flac", "24", "PCM_24"), ("dog.ogg", None, "VORBIS"), ("new/folder/DOG.FLAC", None, "PCM_16"),
])  # fmt: skip
def test_a_file_of_the_kind_that_its_name_says(generate, tmp_path, name, subtype, kind):
    more = [] if subtype is None else ["--subtype", subtype]
    assert generate("a dog barking", "-o", name, *more) == 0
    found = soundfile.info(tmp_path / name)
    assert found.subtype == kind and found.samplerate == 16000 and found.channels == 1 and found.frames > 1000
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


def test_the_clip_of_a_file_is_that_of_a_folder(generate, tmp_path):
    assert generate("rain", "-o", "rain.wav", "--seed", 3) == 0
    assert generate("rain", "bells", "-o", "both", "--seed", 3) == 0
    one, _ = soundfile.read(tmp_path / "rain.wav", dtype="int16")
    other, _ = soundfile.read(tmp_path / "both" / "rain.wav", dtype="int16")
    assert np.abs(one.astype(int) - other).max() <= 1
    assert {path.name for path in (tmp_path / "both").iterdir()} == {
        "rain.wav", "bells.wav", "manifest.csv", "config.yaml",
    }  # fmt: skip


def test_without_a_name_a_single_caption_names_the_file(generate, tmp_path):
    assert generate("a dog, barking!") == 0
    assert (tmp_path / "a_dog_barking.wav").is_file()


def test_nothing_is_overwritten_unless_asked(generate, tmp_path, capsys):
    (tmp_path / "dog.wav").write_bytes(b"mine")
    assert generate("a dog", "-o", "dog.wav") == 2
    refused(capsys, "dog.wav is there already", "--overwrite")
    assert (tmp_path / "dog.wav").read_bytes() == b"mine"
    assert generate("a dog", "-o", "dog.wav", "--overwrite") == 0
    assert soundfile.info(tmp_path / "dog.wav").frames > 1000


@pytest.mark.parametrize(("words", "says"), [
    (["rain", "bells", "-o", "x.wav"], "2 clips are asked for"),
    (["rain", "-o", "x.wav", "--num_samples", "2"], "2 clips are asked for"),
    (["rain", "-o", "x.flac", "--subtype", "float"], ".flac takes 16 or 24"), (["-o", "x.wav"], "nothing to make"),
    (["rain", "-o", "x.ogg", "--subtype", "16"], "compressed with loss"),
    (["rain", "-o", "folder", "--subtype", "24"], "the wavs of a folder are as the model's own"),
    (["rain", "-o", "x", "--output_dir", "y"], "two places"), (["rain", "-o", "x.wav", "--nu", "inf"], "nu is inf"),
])  # fmt: skip
def test_what_cannot_be_is_one_line_before_a_model_is_loaded(generate, tmp_path, capsys, monkeypatch, words, says):
    monkeypatch.setattr("soundctm.commands.generate.load_pipeline", lambda *_: pytest.fail("a model was loaded"))
    assert generate(*words) == 2
    refused(capsys, says)
    assert not list(tmp_path.iterdir())


def test_an_edit(generate, tiny_checkpoint, tmp_path, capsys):
    assert generate("rain", "-o", "rain.wav") == 0
    own = ["--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--keep_silent"]
    assert main(["edit", "rain.wav", "rain", "--extend-after", "0.2", "-o", "longer.wav", *own]) == 0
    before, after = soundfile.info(tmp_path / "rain.wav").frames, soundfile.info(tmp_path / "longer.wav").frames
    assert after - before == 3200
    capsys.readouterr()
    assert main(["edit", "rain.wav", "rain", "-o", "same.wav", *own]) == 2
    refused(capsys, "nothing to do with rain.wav", "--strength")
    assert main(["edit", "none.wav", "rain", "--loop", "-o", "loop.wav", *own]) == 2
    refused(capsys, "none.wav")
