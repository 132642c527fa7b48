"""Listing a folder, decoding what it holds, and one sentence for everything that is no sound."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import soundfile
import torch
from evaluation_sounds import sound, write_folder

from soundctm.data.audio import read_audio
from soundctm.errors import UserError
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders.clips import (
    AHEAD,
    Unreadable,
    clip_name,
    file_digest,
    in_order,
    list_clips,
    read_sound,
)

HERE = Reading(16000)


def test_only_sound_files_are_listed_in_a_stable_order(tmp_path):
    for name in ("b.wav", "a.flac", "C.WAV", "d.ogg", "e.mp3", "manifest.csv", "b.png", ".hidden.wav", "summary.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    assert [path.name for path in list_clips(tmp_path)] == ["C.WAV", "a.flac", "b.wav", "d.ogg", "e.mp3"]


def test_subfolders_belong_to_a_folder(tmp_path):
    for name in ("cats/a.wav", "birds/a.wav", "birds/._a.wav", ".cache/x.wav", "__MACOSX/a.wav", "birds/wild/b.flac"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "cats" / "again").symlink_to(tmp_path)  # endless
    names = [clip_name(path, tmp_path) for path in list_clips(tmp_path)]
    assert names == ["birds/a.wav", "birds/wild/b.flac", "cats/a.wav"]


def test_folders_that_cannot_be_evaluated(tmp_path):
    with pytest.raises(UserError, match="no folder at .*absent$"):
        list_clips(tmp_path / "absent")
    with pytest.raises(UserError, match="holds no wav, flac, ogg or mp3 files"):
        list_clips(tmp_path)
    (tmp_path / "only.wav").touch()
    with pytest.raises(UserError, match="holds one clip, only.wav; an evaluation needs at least two"):
        list_clips(tmp_path)
    with pytest.raises(UserError, match="it is a file"):
        list_clips(tmp_path / "only.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_the_first_channel_at_every_rate(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, np.stack([sound(0), 0.1 * sound(2)], 1), 16000)
    read = read_sound(path, (Reading(8000), HERE))
    assert read.digest == file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert read.seconds == pytest.approx(1.0, abs=0.1) and 0.1 < read.peak < 0.6
    for reading, waveform in read.waveforms.items():
        torch.testing.assert_close(waveform, read_audio(path, reading.sampling_rate)[0])


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, sound(1), 16000)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_truncated(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, sound(1, seconds=4.0), 16000)
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    read = read_sound(path, (HERE,))
    assert isinstance(read, Unreadable) and str(path) in read.reason
    assert "is truncated" in read.reason or "cannot be read" in read.reason
    assert "\n" not in read.reason and "BytesIO" not in read.reason


def test_a_streamed_wav_of_unknown_length_is_whole(wav):
    content = bytearray(wav.read_bytes())
    for at in (4, content.index(b"data") + 4):
        content[at : at + 4] = b"\xff\xff\xff\xff"
    wav.write_bytes(content)
    assert len(read_sound(wav, (HERE,)).waveforms[HERE]) == 16000


def test_text_named_wav_and_an_empty_file(wav):
    wav.write_text("this is not sound")
    assert "cannot be read as a sound file (wav, flac, ogg and mp3 are known)" in read_sound(wav, ()).reason
    wav.write_bytes(b"")
    assert "cannot be read as a sound file" in read_sound(wav, ()).reason


def test_no_samples_and_values_that_are_no_numbers(wav):
    soundfile.write(wav, np.zeros(0, np.float32), 16000)
    assert "holds no samples" in read_sound(wav, ()).reason
    for value in (np.nan, np.inf):
        wave = sound(0)
        wave[100] = value
        soundfile.write(wav, wave, 16000, subtype="FLOAT")
        assert "holds NaN or infinite samples" in read_sound(wav, ()).reason


def test_absent(tmp_path):
    assert "x.wav cannot be read: No such file" in read_sound(tmp_path / "x.wav", ()).reason
    assert isinstance(file_digest(tmp_path / "x.wav"), Unreadable)


def test_silence_is_a_clip(wav):
    soundfile.write(wav, np.zeros(800), 16000)
    read = read_sound(wav, (HERE,))
    assert read.peak == 0 and read.seconds == 0.05 and len(read.waveforms[HERE]) == 800


def test_threads_keep_the_order_and_do_not_read_far_ahead():
    items = iter(range(1, 101))
    results = in_order(lambda number: number * number, items, threads=2)
    assert next(results) == 1
    ahead = next(items)
    assert ahead <= 2 * AHEAD + 2
    results = in_order(lambda number: number * number, range(1, 101), threads=2)
    assert next(results) == 1
    assert list(results) == [number * number for number in range(2, 101)]
    assert list(in_order(str, range(5), threads=0)) == list("01234")


def test_minutes_are_read_whole(tmp_path):
    folder = write_folder(tmp_path, 1, seconds=150.0, rate=2000)
    assert read_sound(folder / "c00.wav", (Reading(1000),)).waveforms[Reading(1000)].shape == (150_000,)
