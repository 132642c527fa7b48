"""Real clips through the shipped codec: lengths, likeness, and what is refused."""

import numpy as np
import pytest
import soundfile
import torch
from script_runs import ROOT

from soundctm.audioldm import AudioLDMCodec, LogMel
from soundctm.evaluation.models.round_trip import main, round_trip

CODEC = ROOT / "ckpt" / "mini" / "codec"


@pytest.fixture
def real(tmp_path):
    """A bell at 16 kHz, and a stereo one at 44.1 kHz, of odd lengths."""
    folder = tmp_path / "real"
    folder.mkdir()
    for name, rate, samples, shape in (("low", 16000, 20001, (1,)), ("high", 44100, 44100, (2,))):
        t = np.arange(samples) / rate
        bell = sum(np.sin(2 * np.pi * f * t) for f in (440, 1210, 2350)) * np.exp(-4 * t) / 6
        soundfile.write(folder / f"{name}.wav", np.repeat(bell[:, None], *shape, axis=1), rate)
    return folder


def run(real, tmp_path, *more):
    return main(["--input_dir", str(real), "--output_dir", str(tmp_path / "back"), "--codec", str(CODEC),
                 "--device", "cpu", *more])  # fmt: skip


def test_clips_come_back_under_their_names_with_length_and_sound(real, tmp_path):
    assert run(real, tmp_path) == 0
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["high.wav", "low.wav"]
    audio, rate = soundfile.read(tmp_path / "back" / "low.wav", dtype="float32")
    original, _ = soundfile.read(real / "low.wav", dtype="float32")
    assert rate == 16000 and audio.shape == original.shape
    assert soundfile.info(tmp_path / "back" / "high.wav").frames == 16000
    mel = LogMel()
    there, back = (mel(torch.from_numpy(x)[None])[0, 0] for x in (original, audio))
    assert (there - back).abs().mean() < 0.35 * (there - there.mean()).abs().mean()
    again = tmp_path / "back" / "low.wav"
    before = again.read_bytes()
    assert run(real, tmp_path) == 0 and again.read_bytes() == before


def test_a_clip_shorter_than_a_latent_frame_keeps_its_length():
    back = round_trip(AudioLDMCodec.from_pretrained(CODEC), 0.1 * torch.ones(500))
    assert back.shape == (500,) and back.isfinite().all()


def test_wrong_folders_are_refused(real, tmp_path, capsys):
    assert run(tmp_path / "nowhere", tmp_path) == 2
    assert "nowhere" in capsys.readouterr().err
    assert run(real, tmp_path, "--output_dir", str(real)) == 2
    assert "the folder of the real clips" in capsys.readouterr().err
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "other.wav").write_bytes(b"")
    assert run(real, tmp_path) == 2
    assert "other.wav" in capsys.readouterr().err
    assert run(real, tmp_path, "--output_dir", str(tmp_path / "new"), "--codec", str(tmp_path / "none")) == 2
    assert "none" in capsys.readouterr().err
