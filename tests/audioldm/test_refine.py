"""Refinement of a waveform towards a log-mel: nearer with every iteration, harmless where nothing is to be done."""

import torch

from soundctm.audioldm import LogMel
from soundctm.audioldm.refine import refine

MEL = LogMel()


def chirp(rows: int = 2, samples: int = 8000) -> torch.Tensor:
    time = torch.arange(samples) / 16000
    sweep = torch.sin(2 * torch.pi * (300 * time + 2000 * time**2))
    noise = torch.randn(rows, samples, generator=torch.Generator().manual_seed(3))
    return 0.2 * sweep + 0.05 * noise * torch.linspace(1, 0, samples)


def distance(waveform: torch.Tensor, target: torch.Tensor) -> float:
    return (MEL(waveform) - target).abs().mean().item()


def test_noise_is_drawn_to_the_mel_of_a_sound():
    target = MEL(chirp())
    noise = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    errors = [distance(refine(noise, target, MEL, n), target) for n in (0, 1, 4, 12)]
    assert errors[0] > 1 and errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.4 * errors[1]


def test_a_sound_with_that_mel_already_stays():
    sound = chirp()
    again = refine(sound, MEL(sound), MEL, 4)
    torch.testing.assert_close(again[:, 512:-512], sound[:, 512:-512], rtol=0, atol=2e-3)


def test_rows_do_not_touch_each_other_and_nothing_is_random():
    target = MEL(chirp(3))
    start = 0.1 * torch.randn(3, 8000, generator=torch.Generator().manual_seed(1))
    whole = refine(start, target, MEL, 3)
    torch.testing.assert_close(refine(start[1:2], target[1:2], MEL, 3), whole[1:2], rtol=0, atol=1e-5)
    assert torch.equal(refine(start, target, MEL, 3), whole)


def test_silence_asked_for_and_silence_given_stay_finite():
    floor = torch.full((1, 1, 50, 64), -11.5129)
    loud = refine(chirp(1), floor, MEL, 6)
    assert loud.abs().max() < 1e-2
    silent = refine(torch.zeros(1, 8000), MEL(chirp(1)), MEL, 2)
    assert torch.isfinite(silent).all()
