"""Measures: known sounds, gradients against finite differences in float64, silence, and the filter's own numbers."""

import math

import pytest
import torch
from helpers import close

from soundctm.audioldm import LogMel, MelConfig
from soundctm.control import MEASURES, Curve, Objective, Sound, centroid, intensity, onsets
from soundctm.control.measures import savitzky_golay

RATE = 4000


class TinyCodec:
    """Latents [B, 2, T, 4] of a mel codec, linear, in float64: 4 frames of 8 mels per latent frame."""

    sampling_rate = RATE
    mel = LogMel(MelConfig(sampling_rate=RATE, n_fft=256, hop_length=40, n_mels=8, fmax=2000.0))
    weight = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def decode_mel(self, latents):
        mel = torch.einsum("bctf,ck->btkf", latents, self.weight).flatten(1, 2)
        return (mel.repeat_interleave(2, 2) - 4)[:, None]

    def synthesise(self, latents):
        return torch.einsum("bctf,ck->btkf", latents, self.weight).flatten(1)


class WaveCodec:
    """Latents [B, 2, T] of a waveform codec: no mel."""

    sampling_rate = RATE

    def synthesise(self, latents):
        return 0.1 * torch.repeat_interleave(latents, 60, dim=2).flatten(1)


def tone(level, hz, seconds=1.0, rate=16000):
    t = torch.arange(round(seconds * rate)) / rate
    return level * torch.sin(2 * math.pi * hz * t)[None]


def test_a_tone_is_as_loud_and_as_high_as_it_is():
    sound = Sound.of_waveform(tone(0.5, 1000), 16000)
    inner = slice(25, -25)
    assert intensity(sound)[0, inner].sub(10 * math.log10(0.125)).abs().max() < 0.01
    assert centroid(sound)[0, inner].sub(1000).abs().max() < 2
    assert intensity(sound).shape == (1, 100)


def test_an_onset_is_where_a_sound_begins():
    wave = torch.cat([torch.zeros(1, 8000), tone(0.5, 700, 0.5)], 1)
    assert abs(int(onsets(Sound.of_waveform(wave, 16000))[0].argmax()) - 50) <= 4


def test_the_mel_tells_what_the_waveform_does():
    wave = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    mel = LogMel()

    class Codec:
        sampling_rate = 16000
        mel = LogMel()

        def decode_mel(self, latents):
            return mel(wave)

    seen = Sound.of_latents(Codec(), torch.zeros(1))
    heard = Sound.of_waveform(wave, 16000)
    assert (intensity(seen) - intensity(heard))[:, 5:-5].abs().mean() < 0.5
    assert (centroid(seen) / centroid(heard) - 1)[:, 5:-5].abs().mean() < 0.05
    close(seen.widths.sum(), torch.tensor(1.0), 1e-6)


@pytest.mark.parametrize("codec, shape", [(TinyCodec(), (1, 2, 10, 4)), (WaveCodec(), (1, 2, 12))])
@pytest.mark.parametrize("name", MEASURES)
def test_gradients_agree_with_finite_differences(codec, shape, name):
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    loss = Objective(MEASURES[name], Curve(((0.0, -30.0), (0.2, 5.0)))).loss(codec)
    assert torch.autograd.gradcheck(lambda z: loss(z).log(), latents, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_a_users_measure():
    loudest = lambda sound: sound.waveform.abs().amax(1, keepdim=True)  # noqa: E731
    objective = Objective(loudest, torch.tensor([0.25]))
    close(objective.error_of_waveform(tone(0.5, 1000), 16000), torch.tensor([0.0625]), 1e-4)


@pytest.mark.parametrize("name", MEASURES)
def test_silence_has_finite_values_and_bounded_gradients(name):
    for level in (0.0, 1e-12, 1e-8, 1e-5):
        wave = (level * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))).requires_grad_()
        error = Objective(MEASURES[name], Curve(((0.0, -20.0),))).error_of_waveform(wave, 16000)
        (slope,) = torch.autograd.grad(error.sum(), wave)
        assert torch.isfinite(error).all() and torch.isfinite(slope).all()
        assert slope.abs().max() < 1e9


def test_the_filter_keeps_parabolas_and_is_what_it_is_known_to_be():
    t = torch.arange(60, dtype=torch.float64)
    curve = (0.3 * t**2 - t + 4)[None]
    close(savitzky_golay(curve)[:, 15:-15], curve[:, 15:-15], 1e-10)
    impulse = torch.zeros(1, 25, dtype=torch.float64)
    impulse[0, 12] = 35
    close(savitzky_golay(impulse, 5, 2)[0, 10:15], torch.tensor([-3.0, 12, 17, 12, -3], dtype=torch.float64), 1e-10)
    assert savitzky_golay(torch.ones(1, 3)).shape == (1, 3)
