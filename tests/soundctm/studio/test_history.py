"""The folder of sounds: what is in it, how it is searched, and that it stays a folder of the scripts."""

import io
import json
import os

import numpy as np
import pytest
import soundfile
from studio_clips import RATE, made

from soundctm.errors import UserError
from soundctm.inference.manifest import Manifest
from soundctm.studio.history import History
from soundctm.studio.history.folder import NotThere


def sound(rate: int = 8000, channels: int = 1, kind: str = "WAV", seconds: float = 0.1) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full((round(rate * seconds), channels), 0.25), rate, format=kind)
    return buffer.getvalue()


def captions(history, *asked, **options) -> list[str]:
    return [item.caption for item in history.items(*asked, **options)[0]]


def test_a_clip_is_a_file_and_a_line_and_comes_back(history, folder):
    assert captions(history) == ["rain", "a dog barking"]
    assert sorted(path.name for path in folder.glob("*.wav")) == ["a_dog_barking.wav", "rain.wav"]
    audio, rate = soundfile.read(folder / "rain.wav")
    assert rate == RATE and len(audio) == RATE // 10
    assert list(Manifest(folder).read()) == ["a_dog_barking.wav", "rain.wav"]
    again = History(folder)
    assert [item.to_json() for item in again.items()[0]] == [item.to_json() for item in history.items()[0]]


def test_what_another_program_adds_or_removes_is_seen(history, folder):
    other = History(folder)
    other.add(made("wind", 3), when=3000.0)
    assert captions(history) == ["wind", "rain", "a dog barking"]
    (folder / "rain.wav").unlink()
    assert captions(history) == ["wind", "a dog barking"]


def test_search_stars_and_pages(history):
    history.add(made("a dog in the rain", 3, steering='{"negative_prompt": "Music"}'), when=3000.0)
    dog = history.items("BARKING")[0][0]
    assert captions(history, "rain dog") == ["a dog in the rain"] and captions(history, "music") == [
        "a dog in the rain"
    ]
    assert captions(history, "nothing") == []
    history.star(dog.id, True)
    assert captions(history, starred=True) == ["a dog barking"]
    assert captions(History(history.folder), starred=True) == ["a dog barking"]
    history.star(dog.id, False)
    assert captions(history, starred=True) == []
    first, after = history.items(limit=2)
    assert len(first) == 2 and [item.caption for item in history.items(limit=2, before=after)[0]] == ["a dog barking"]
    assert history.items(limit=2, before=after)[1] is None
    with pytest.raises(NotThere, match="has changed"):
        history.items(before="gone")


def test_names_are_free_whatever_the_caption(history, folder):
    names = [history.add(made(text)).file for text in ("Rain", "rain", "../../etc/passwd", "..", "a/b\\c", "x" * 9999)]
    assert names[:2] == ["Rain_2.wav", "rain_3.wav"]
    assert all("/" not in name and ".." not in name and (folder / name).is_file() for name in names)
    assert len({name.casefold() for name in names}) == 6


def test_own_sounds_stay_as_they_are(history, folder):
    content = sound(44100, 2, "FLAC")
    item = history.add_own(content, "../a <b> tür.WAV")
    assert item.file == "own/a _b_ tür.flac" and (folder / item.file).read_bytes() == content
    assert history.add_own(content, "a <b> tür.wav").file == "own/a _b_ tür_2.flac"
    assert captions(history, "tür")[0] == "a _b_ tür_2" and item.to_json()["kind"] == "own"
    assert history.with_bytes(content) is not None and history.with_bytes(b"other") is None
    assert history.keep_input(content).startswith("own/")
    assert history.keep_input(sound()).startswith("inputs/") and len(captions(history)) == 4
    assert list(Manifest(folder).read()) == ["a_dog_barking.wav", "rain.wav"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (b"RIFF\x00\x00", "cannot be read"),
        (b"<html>", "cannot be read"),
        (sound(seconds=0), "holds no samples"),
        (sound(100, seconds=700), "Hz are taken"),
        (sound(1000, seconds=601), "longer than 600 s"),
        (sound(8000, 20), "20 channels"),
        (sound(kind="AIFF"), "is AIFF"),
        (sound().replace(b"WAVE", b"XXXX"), "cannot be read"),
    ],
)
def test_what_is_no_sound_is_a_sentence(history, folder, content, says):
    with pytest.raises(UserError, match=says) as error:
        history.add_own(content, "mine.wav")
    assert "mine.wav" in str(error.value) and not (folder / "own").exists()


def test_a_folder_of_the_scripts_is_a_history(tmp_path):
    folder = tmp_path / "run"
    History(folder).add(made("wind", 7))
    (folder / "studio.json").unlink()
    (folder / "unknown.wav").write_bytes(sound())
    history = History(folder)
    assert captions(history) == ["wind"]
    os.utime(folder / "wind.wav", (5000, 5000))
    assert history.items()[0][0].made == 5000


def test_marks_that_cannot_be_read_are_a_sentence_and_odd_ones_are_passed_over(history, folder):
    path = folder / "studio.json"
    path.write_text(json.dumps({"sounds": {"rain.wav": {"starred": "yes", "made": "x", "parent": 3}, "y": []}}))
    assert not History(folder).items("rain")[0][0].starred
    for text in ("{", "[]", '{"sounds": 3}'):
        path.write_text(text)
        with pytest.raises(UserError, match=r"studio\.json"):
            History(folder)


def test_a_line_makes_no_sound_of_another_file(history, folder):
    for file in ("studio.json", "manifest.csv", ".trash/x.wav", ".hidden.wav"):
        (folder / ".trash").mkdir(exist_ok=True)
        (folder / file).touch()
        Manifest(folder).append(made("x", file=file).entry)
    assert captions(history) == captions(History(folder)) == ["rain", "a dog barking"]


def test_lines_of_strangers_are_harmless(history, folder):
    entry = made("x").entry
    hostile = {"seed": "1e999", "steps": "nan", "steering": "{" * 100, "caption": "<b>\0\x1b[31m" + "y" * 9000}
    with pytest.raises(UserError, match="leads out"):
        Manifest(folder).append(type(entry)(**{**vars(entry), "file": "../../x.wav"}))
        captions(history)
    (folder / "manifest.csv").unlink()
    history = History(folder)
    item = history.add(made("x"))
    Manifest(folder).append(type(entry)(**{**vars(entry), **hostile, "file": item.file}))
    found = History(folder).items()[0][0].to_json()
    assert len(found["caption"]) == 2000 and found["operation"] == "generate"
    json.dumps(found, allow_nan=False)
