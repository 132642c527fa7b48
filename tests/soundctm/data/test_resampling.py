"""The official kernel at every pair of rates, in time proportional to the length."""

from __future__ import annotations

import time

import pytest
import soundfile
import torch
import torchaudio

from soundctm.data.audio import load_clip, read_audio
from soundctm.data.resampling import MOST_KERNEL, _kernel_size, resample, resample_by_place
from soundctm.errors import UserError

ODD_RATES = [22_254, 11_127, 44_099, 44_101, 48_001, 96_001, 7_919]


def noise(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def official(waveform: torch.Tensor, rate: int, new_rate: int) -> torch.Tensor:
    return torchaudio.functional.resample(
        waveform, rate, new_rate, resampling_method="sinc_interp_kaiser", rolloff=0.95
    )


@pytest.mark.parametrize(
    ("rate", "new_rate"),
    [(44_100, 16_000), (48_000, 16_000), (16_000, 44_100), (8_000, 16_000), (22_050, 16_000), (16_000, 14_400)],
)
def test_both_ways_are_the_official_kernel(rate, new_rate):
    waveform = noise(2, 4001)
    assert torch.equal(resample(waveform, rate, new_rate), official(waveform, rate, new_rate))
    torch.testing.assert_close(
        resample_by_place(waveform, rate, new_rate), official(waveform, rate, new_rate), rtol=0, atol=3e-5
    )


@pytest.mark.parametrize(("rate", "new_rate"), [(48_000, 44_100), (16_000, 44_100), (96_000, 44_100)])
def test_the_plain_kernel_is_what_torchaudio_does_by_itself(rate, new_rate):
    waveform = noise(2, 4001)
    wanted = torchaudio.functional.resample(waveform, rate, new_rate)
    assert torch.equal(resample(waveform, rate, new_rate, "plain"), wanted)
    torch.testing.assert_close(resample_by_place(waveform, rate, new_rate, "plain"), wanted, rtol=0, atol=3e-5)


def test_an_odd_rate_is_the_official_kernel_too():
    waveform = noise(1, 907)
    assert _kernel_size(907, 1601) > MOST_KERNEL
    torch.testing.assert_close(resample(waveform, 907, 1601), official(waveform, 907, 1601), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rate", ODD_RATES)
def test_a_tone_stays_that_tone(rate):
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(rate) / rate)
    made = resample(tone, rate, 16_000)
    expected = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)
    assert made.shape == expected.shape and made.dtype == torch.float32
    torch.testing.assert_close(made[200:-200], expected[200:-200], rtol=0, atol=2e-3)


@pytest.mark.parametrize("rate", ODD_RATES)
def test_what_the_new_rate_cannot_hold_is_gone(rate):
    high = torch.sin(2 * torch.pi * 0.49 * 8_000 * torch.arange(rate) / rate)  # 3.9 kHz, above the half of 4 kHz
    assert resample(high, rate, 4_000)[200:-200].abs().max() < 2e-3


def test_time_and_memory_are_proportional_to_the_length():
    waveform = noise(1, 10 * 44_099)
    began = time.perf_counter()
    assert resample(waveform, 44_099, 16_000).shape == (1, 160_000)
    assert time.perf_counter() - began < 10  # torchaudio's kernel would have 7e8 numbers


def test_shapes_nothing_and_equal_rates():
    waveform = noise(2, 3, 500)
    assert resample(waveform, 16_000, 16_000) is waveform
    both = resample(waveform, 44_101, 16_000)
    assert both.shape == (2, 3, 182)
    torch.testing.assert_close(both[1, 2], resample(waveform[1, 2], 44_101, 16_000))
    assert resample(noise(0), 44_101, 16_000).shape == (0,)
    assert resample(noise(3), 2**31 - 1, 16_000).shape == (1,)
    with pytest.raises(ValueError, match="0 Hz"):
        resample(waveform, 0, 16_000)


def test_files_of_any_rate_are_clips_and_a_rate_out_of_reason_is_named(tmp_path):
    soundfile.write(tmp_path / "mac.wav", noise(22_254).numpy(), 22_254)
    assert load_clip(tmp_path / "mac.wav", 16_000).abs().max() == pytest.approx(0.5)
    soundfile.write(tmp_path / "forged.wav", noise(100).numpy(), 2**31 - 1)
    with pytest.raises(UserError, match="forged.wav says 2147483647 Hz; rates from 100 to 10000000 Hz are read"):
        read_audio(tmp_path / "forged.wav", 16_000)
