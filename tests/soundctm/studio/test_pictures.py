"""Outline, spectrogram and loudness as numbers that are known."""

import base64

import numpy as np
import pytest
import soundfile

from soundctm.errors import UserError
from soundctm.mels import MELS, slaney_mel, ticks
from soundctm.studio.pictures import COLUMNS, POINTS, Pictures, picture


def unpacked(found: dict) -> tuple[np.ndarray, np.ndarray]:
    outline = np.frombuffer(base64.b64decode(found["outline"]), np.int8).reshape(-1, 2)
    levels = np.frombuffer(base64.b64decode(found["levels"]), np.uint8).reshape(found["rows"], found["columns"])
    return outline, levels


def test_a_sine_lies_where_its_frequency_is_and_begins_where_it_begins():
    rate = 16000
    sine = np.sin(2 * np.pi * 2000 * np.arange(2 * rate) / rate) * 0.5
    sine[:rate] = 0
    found = picture(sine[:, None].astype(np.float32), rate)
    outline, levels = unpacked(found)
    assert outline.shape == (POINTS, 2) and not outline[: POINTS // 2 - 1].any()
    assert abs(outline[POINTS // 2 + 2 :].max() - 63.5) <= 1 and abs(outline.min() + 63.5) <= 1
    columns = found["columns"]
    loudest = levels[:, columns * 3 // 4].argmax()
    assert abs(loudest - slaney_mel(2000) / slaney_mel(8000) * MELS) <= 1.5
    assert levels[loudest, columns * 3 // 4] == pytest.approx(255, abs=3) and levels[:, columns // 4].max() == 0
    assert found["seconds"] == 2 and dict(found["ticks"])[8000] == pytest.approx(1)
    assert found["ticks"] == ticks(rate)


def test_loudness_is_that_of_bs1770():
    from pyloudnorm import Meter

    rng = np.random.default_rng(0)
    for rate, seconds, channels in ((16000, 2.56, 1), (44100, 1.0, 2)):
        noise = rng.normal(0, 0.1, (round(rate * seconds), channels)).astype(np.float32)
        assert picture(noise, rate)["loudness"] == pytest.approx(Meter(rate).integrated_loudness(noise), abs=0.02)
    assert picture(np.zeros((16000, 1), np.float32), 16000)["loudness"] is None
    short = picture(rng.normal(0, 0.1, (800, 1)).astype(np.float32), 16000)
    assert short["loudness"] == pytest.approx(-20, abs=3)


@pytest.mark.parametrize(("samples", "rate"), [(1, 16000), (500, 8000), (44100 * 60, 44100)])
def test_any_length_has_a_picture_of_bounded_size(samples, rate):
    found = picture(np.full((samples, 1), 0.1, np.float32), rate)
    outline, levels = unpacked(found)
    assert len(outline) == min(POINTS, samples) and 1 <= found["columns"] <= COLUMNS + 1
    assert levels.shape[0] == MELS


def test_a_file_is_drawn_once_until_it_changes(tmp_path):
    path, pictures = tmp_path / "a.wav", Pictures(kept=1)
    soundfile.write(path, np.zeros(800), 8000)
    first = pictures.of(path)
    assert pictures.of(path) is first
    soundfile.write(path, np.full(1600, 0.5), 8000)
    assert pictures.of(path)["seconds"] == 0.2
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"a\.wav cannot be read as a sound"):
        pictures.of(path)
    with pytest.raises(UserError, match=r"b\.wav cannot be read"):
        pictures.of(tmp_path / "b.wav")
