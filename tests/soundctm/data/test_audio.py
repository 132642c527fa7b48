"""Reading clips against the official reader (golden h), and files that cannot be read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import close, golden, golden_meta

from soundctm.data.audio import ClipForm, fit_clip, load_clip, normalise_peak, read_audio
from soundctm.data.resampling import resample
from soundctm.errors import UserError

CASES = golden_meta("h_wav_mel")["cases"]


@pytest.fixture(scope="module")
def g() -> dict[str, torch.Tensor]:
    return golden("h_wav_mel")


def write(path: Path, samples: torch.Tensor, rate: int) -> Path:
    soundfile.write(path, samples.numpy().T, rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("case", [c for c in CASES if c not in ("silence", "constant")])
def test_load_clip_matches_official(g, case, tmp_path):
    settings = CASES[case]
    path = write(tmp_path / "x.wav", g[f"in.{case}"], settings["sample_rate"])
    clip = load_clip(path, settings["segment_length"])
    assert clip.dtype == torch.float32
    assert clip.shape == (settings["segment_length"],)
    torch.testing.assert_close(clip, g[f"read.{case}"][0], rtol=0, atol=2e-6)


def test_resampler_matches_official(g):
    out = resample(g["in.stereo44k_dc"], 44100, 16000)
    torch.testing.assert_close(out, g["resampled.stereo44k_dc"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("case", ["silence", "constant"])
def test_silence_stays_silence(g, case, tmp_path):
    assert torch.isnan(g[f"read.{case}"]).all()  # the official fault that this replaces
    path = write(tmp_path / "x.wav", g[f"in.{case}"], CASES[case]["sample_rate"])
    assert torch.equal(load_clip(path, 16000), torch.zeros(16000))


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_any_constant_is_silence(rate, tmp_path):
    path = write(tmp_path / "x.wav", torch.full((2, 3001), 0.1), rate)
    assert torch.equal(load_clip(path, 4000), torch.zeros(4000))


def test_silent_beginning_is_cut_to_silence():
    waveform = torch.cat([torch.zeros(100), torch.tensor([1.0, -1.0])])
    assert torch.equal(fit_clip(waveform, 100), torch.zeros(100))


def test_peak_is_half_and_padding_is_zero(tmp_path):
    tone = torch.sin(torch.arange(800) / 5)[None] * 0.01
    clip = load_clip(write(tmp_path / "x.wav", tone, 16000), 1000)
    assert math.isclose(clip.abs().max().item(), 0.5, rel_tol=1e-6)
    assert torch.equal(clip[800:], torch.zeros(200))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_formats(suffix, tmp_path):
    samples = 0.4 * np.sin(np.arange(24000) / 8).astype(np.float32)
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, np.stack([samples, np.zeros_like(samples)], 1), 24000)
    audio = read_audio(path, 16000)
    assert audio.shape[0] == 2
    assert abs(audio.shape[1] - 16000) < 2000  # mp3 pads
    assert audio[0].abs().max() > 0.3 and audio[1].abs().max() < 0.05


def test_first_channel_only(tmp_path):
    left, right = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    both = load_clip(write(tmp_path / "a.wav", torch.stack([left, right]), 16000), 4000)
    alone = load_clip(write(tmp_path / "b.wav", left[None], 16000), 4000)
    assert torch.equal(both, alone)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no sound file at .*gone.wav"):
        load_clip(tmp_path / "gone.wav", 100)


def test_unreadable_file_is_named(tmp_path):
    path = tmp_path / "text.wav"
    path.write_text("this is not audio")
    with pytest.raises(UserError, match="text.wav cannot be read"):
        read_audio(path)


def test_empty_file_is_named(tmp_path):
    path = write(tmp_path / "empty.wav", torch.zeros(1, 0), 16000)
    with pytest.raises(UserError, match="empty.wav holds no samples"):
        read_audio(path)


def test_nan_file_is_named(tmp_path):
    samples = torch.zeros(1, 100)
    samples[0, 50] = float("nan")
    with pytest.raises(UserError, match="bad.wav holds NaN"):
        read_audio(write(tmp_path / "bad.wav", samples, 16000))


def test_normalise_peak_of_nothing():
    assert normalise_peak(torch.zeros(0)).numel() == 0


PLAIN = ClipForm(1000, 44_100, "plain")


@pytest.mark.parametrize("case", ["short", "long", "mono"])
def test_a_plain_clip_is_that_of_the_official_transformer(case, tmp_path):
    g = golden("dit/h_latents_data")
    sound, wanted = g[f"crop.{case}.in"], g[f"crop.{case}.out"][0]
    close(PLAIN.of(sound, 44_100), wanted, 1e-5)
    close(PLAIN.load(write(tmp_path / "x.wav", sound, 44_100)), wanted, 1e-5)


def test_a_plain_clip_keeps_its_level_and_both_channels(tmp_path):
    tone = 0.02 * torch.sin(torch.arange(48_000) / 20)
    clip = ClipForm(44_100, 44_100, "plain").load(write(tmp_path / "x.wav", torch.stack([tone, 0 * tone]), 48_000))
    assert clip.shape == (44_100,)
    assert clip[1000:-1000].abs().max().item() == pytest.approx(0.01, rel=1e-2)
    assert torch.equal(ClipForm(44_100, 44_100, "plain").of(torch.zeros(1, 99), 44_100), torch.zeros(44_100))


def test_plain_samples_of_another_scale_are_no_sound(tmp_path):
    path = write(tmp_path / "x.wav", 32_768 * torch.sin(torch.arange(900.0))[None], 44_100)
    with pytest.raises(UserError, match=r"x.wav peaks at 3.28e\+04, and its level is kept; samples must lie in"):
        PLAIN.load(path)
    assert ClipForm(900, 44_100).load(path).abs().max().item() == pytest.approx(0.5)


def test_forms_have_names_of_their_own():
    forms = [
        ClipForm(40_960), ClipForm(40_960, highpass=30.0), ClipForm(40_960, 44_100), ClipForm(40_960, 44_100, "plain"),
        ClipForm(40_960, reading="plain"), ClipForm(40_961),
    ]  # fmt: skip
    assert len({form.name for form in forms}) == len(forms)
    assert [form.name for form in forms[:2]] == ["40960", "40960-30Hz"], "caches of before stay"
