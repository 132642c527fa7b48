"""What extractors hear of a file: channels, level, rates, 16 bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from evaluation_sounds import sound
from helpers import close, golden
from torchaudio.functional import resample as reference_resample

from soundctm.data.resampling import resample, resample_by_place
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders.waveforms import through_int16, waveform_of

STEREO = torch.from_numpy(np.stack([sound(0), 0.2 * sound(4)]))
TOP = 10 ** (-1 / 20)


def test_the_official_round_trip_through_16_bits():
    expected = golden("dit/k_metrics")
    close(through_int16(expected["int16.in"]), expected["int16.out"], 1e-7)


def test_channels():
    assert torch.equal(waveform_of(STEREO, 16000, Reading(16000)), STEREO[0])
    close(waveform_of(STEREO, 16000, Reading(16000, "mean")), STEREO.mean(0), 1e-6)
    assert torch.equal(waveform_of(STEREO, 16000, Reading(16000, "stereo")), STEREO)
    assert torch.equal(waveform_of(STEREO[:1], 16000, Reading(16000, "stereo")), STEREO[[0, 0]])
    assert waveform_of(torch.cat([STEREO, STEREO]), 16000, Reading(16000, "stereo")).shape == STEREO.shape


def test_levels():
    after = waveform_of(STEREO, 16000, Reading(32000, "mean", "best", peak=-1.0))
    assert after.abs().max().item() == pytest.approx(TOP)
    first = waveform_of(STEREO, 16000, Reading(16000, "mean", "best", peak=-1.0, peak_first=True))
    close(first, (STEREO * TOP / STEREO.abs().max()).mean(0), 1e-6)  # the loudest channel is at -1 dB, not their mean
    assert first.abs().max() < 0.9 * TOP
    silence = waveform_of(torch.zeros(1, 1000), 16000, Reading(16000, peak=-1.0, int16=True))
    assert (silence == 0).all()


def test_the_wide_kernel_is_kaiser_best_and_odd_rates_have_it_too():
    wide = resample(STEREO, 44100, 48000, "best")
    settings = {"lowpass_filter_width": 64, "rolloff": 0.9475937167399596, "beta": 14.769656459379492}
    close(wide, reference_resample(STEREO, 44100, 48000, resampling_method="sinc_interp_kaiser", **settings), 1e-5)
    close(resample_by_place(STEREO, 44100, 48000, "best"), wide, 2e-5)
    assert (wide - resample(STEREO, 44100, 48000)).abs().max() > 1e-3


def test_a_band_takes_away_what_lies_above_it():
    time = torch.arange(48_000, dtype=torch.float64) / 48_000
    low, high = (torch.sin(2 * torch.pi * hz * time)[None].float() for hz in (5_000, 23_000))
    limited = Reading(48_000, "mean", "best", band=44_100)
    assert waveform_of(high, 48_000, limited)[1000:-1000].abs().max() < 2e-3
    close(waveform_of(low, 48_000, limited)[1000:-1000], low[0, 1000:-1000], 1e-3)


def test_every_extractor_says_what_it_hears_and_no_two_names_are_the_same():
    entries = registry.available()
    assert len({entry.title for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.windows and entry.reading.sampling_rate == entry.sampling_rate
    assert registry.entry("clap630k").reading.text == (
        "mean of all channel, sinc_interp_kaiser (as resampy's kaiser_best), rolloff 0.9476, 64 zero crossings, "
        "peak -1 dB after resampling, through 16-bit samples"
    )
    assert registry.entry("openl3").reading.resampler.endswith(", by way of 44100 Hz")
    assert registry.weights_of("passt_windows", {"passt": "a"}) == "a"
    assert registry.weights_of("passt_windows", {"passt": "a", "passt_windows": "b"}) == "b"
    assert registry.weights_of("passt", {"passt_windows": "b"}) is None
