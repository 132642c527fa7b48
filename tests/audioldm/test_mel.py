"""The log-mel front end against golden h."""

import pytest
import torch
from helpers import golden

from soundctm.audioldm import CodecError, LogMel, MelConfig


@pytest.fixture(scope="module")
def h():
    return golden("h_wav_mel")


def test_mel_basis(h):
    assert (LogMel().basis.T - h["mel_basis"]).abs().max() < 1e-7


def test_log_mel_of_four_clips_one_of_them_silent(h):
    waveform = torch.nan_to_num(h["fbank.waveform"])  # the official loader turns silence into NaN, ours does not
    assert torch.isnan(h["fbank.waveform"]).any()
    assert (LogMel()(waveform)[:, 0] - h["fbank"]).abs().max() < 1e-4


def test_log_magnitude(h):
    waveform = torch.nan_to_num(h["fbank.waveform"])
    ours = LogMel().log_magnitude(waveform)[:, ::8, :512]  # the official code drops the last of 513 bins
    assert (ours - h["fbank.log_magnitude_every8"]).abs().max() < 2e-3


def test_full_length_gives_1024_frames(h):
    mel = LogMel()(h["read.mono16k_12s"])
    assert mel.shape == (1, 1, 1024, 64)
    assert (mel[:, 0] - h["fbank.12s"]).abs().max() < 1e-4


def test_silence_is_the_clamp_and_finite():
    mel = LogMel()(torch.zeros(1, 16000))
    assert torch.all(mel == torch.tensor(1e-5).log())


def test_frame_count_follows_the_hop():
    for samples in (1600, 1759, 1760, 40960):
        assert LogMel()(torch.randn(2, samples)).shape == (2, 1, samples // 160, 64)


def test_another_resolution():
    assert LogMel(MelConfig(n_fft=512, hop_length=128, n_mels=40))(torch.randn(1, 1280)).shape == (1, 1, 10, 40)


@pytest.mark.parametrize("shape", [(16000,), (1, 1, 16000), (1, 512)])
def test_unusable_waveforms_are_named(shape):
    with pytest.raises(CodecError, match="samples"):
        LogMel()(torch.zeros(shape))
