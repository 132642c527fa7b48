"""A folder of sounds becomes a table to train on."""

import os
from pathlib import Path

import pytest

from soundctm.data.dataset import read_captioned_files
from soundctm.training.table import caption_of, main


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("dog_barking_01.wav", "dog barking"),
        ("rain/003.wav", "rain"),
        ("rain/heavy/12-3.wav", "heavy"),
        ("DogBarking.wav", "dog barking"),
        ("2024-05-01.wav", "a sound"),
        ("雷.flac", "雷"),
        ("door, slam (2).ogg", "door slam"),
    ],
)
def test_captions_are_the_words_of_names(name, caption):
    assert caption_of(Path(name)) == caption


def test_the_table_is_read_by_the_training_and_never_overwritten(tmp_path, capsys):
    for name in ("dog_barking_01.wav", "rain/1.FLAC", ".hidden.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert main(["--audio_dir", str(tmp_path)]) == 0
    files = read_captioned_files(tmp_path / "captions.csv")
    assert [(file.path, file.caption) for file in files] == [
        (tmp_path / "dog_barking_01.wav", "dog barking"),
        (tmp_path / "rain/1.FLAC", "rain"),
    ]
    assert main(["--audio_dir", str(tmp_path)]) == 2 and "is there already" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "none"):
        assert main(["--audio_dir", str(folder)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_names_that_a_table_cannot_hold_are_named_and_only_those(tmp_path, caplog):
    """The folder itself may have such a name; hidden folders are passed over without a word."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    for name in ("a bell.wav", "b\udce9ll.wav", "two\nlines.wav", ".cache/x.wav", "__MACOSX/y.wav", "._a bell.wav"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(b"")
    assert main(["--audio_dir", str(folder)]) == 0
    assert [file.caption for file in read_captioned_files(folder / "captions.csv")] == ["a bell"]
    said = sorted(
        record.getMessage().split(" is left out")[0] for record in caplog.records if record.levelname == "WARNING"
    )
    assert said == ["b\\xe9ll.wav", "two\\nlines.wav"]
