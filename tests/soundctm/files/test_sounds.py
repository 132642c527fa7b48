"""Sound files: what is read back is what was written, to the precision that their kind has."""

import io

import numpy as np
import pytest
import soundfile

from soundctm.errors import UserError
from soundctm.files.sounds import FORMATS, sound_bytes, to_integers, write_sound

WAVE = (0.9 * np.sin(np.arange(8000) / 9.0)).astype(np.float32)


@pytest.mark.parametrize(("ending", "subtype", "error"), [
    (".wav", "16", 2**-16), (".wav", "24", 2**-24), (".wav", "float", 0.0),
    (".flac", "16", 2**-16), (".flac", "24", 2**-24), (".ogg", None, 0.1),
])  # fmt: skip
def test_back_to_the_precision_of_the_kind(ending, subtype, error, tmp_path):
    write_sound(tmp_path / f"x{ending}", WAVE, 16000, subtype)
    back, rate = soundfile.read(tmp_path / f"x{ending}", dtype="float64")
    assert rate == 16000 and len(back) == len(WAVE) and np.abs(back - WAVE).max() <= error


def test_the_first_kind_is_the_default():
    for ending, kinds in FORMATS.items():
        info = soundfile.info(io.BytesIO(sound_bytes(WAVE, 16000, ending)))
        assert info.subtype == ("PCM_16" if kinds else "VORBIS")


def test_whole_samples_are_rounded_and_do_not_wrap():
    assert to_integers(np.array([1.0, -1.0, 2.6 / 2**15, -9.0]), 16).tolist() == [32767, -32768, 3, -32768]
    assert to_integers(np.array([1.0, -1.0, 2.6 / 2**23]), 24).tolist() == [(2**23 - 1) * 256, -(2**31), 3 * 256]


@pytest.mark.parametrize(("name", "rate", "subtype", "says"), [
    ("x.mp3", 16000, None, ".wav, .flac, .ogg"), ("x", 16000, None, "no ending"), ("x.wav", 16000, "32", "'32'"),
    ("x.flac", 16000, "float", "16 or 24"), ("x.flac", 1_000_000, None, "1000000 Hz"),
])  # fmt: skip
def test_what_cannot_be_written_is_one_sentence(name, rate, subtype, says, tmp_path):
    with pytest.raises(UserError, match=says):
        write_sound(tmp_path / name, WAVE, rate, subtype)
    assert not list(tmp_path.iterdir())
