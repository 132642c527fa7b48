"""The benchmark of editing hears a rhythm and a seam where there is one, and a long clip takes little memory."""

import math

import pytest
import tiny
import torch

from benchmarks.editing import rhythm, seam_flux
from benchmarks.measuring import PeakMemory
from soundctm.editing import Region
from soundctm.pipeline import SoundCTMPipeline

RATE = 16_000


def noise(seconds: float) -> torch.Tensor:
    return torch.randn(round(seconds * RATE), generator=torch.Generator().manual_seed(0))


def test_a_rhythm_is_heard():
    hiss = noise(30.0)
    beat = 1 + 0.5 * torch.cos(2 * math.pi * torch.arange(len(hiss)) / (1.28 * RATE))
    plain, beaten = rhythm(hiss, RATE, 1.28), rhythm(hiss * beat, RATE, 1.28)
    assert abs(plain[0]) < 0.1 and abs(plain[1]) < 0.1
    assert beaten[0] > 0.5 and beaten[1] > 0.5


def test_a_seam_is_heard():
    clip, region = 0.1 * noise(2.0), Region(0.7, 1.4)
    inside = (torch.arange(len(clip)) >= 0.7 * RATE) & (torch.arange(len(clip)) < 1.4 * RATE)
    at_seam, usual = seam_flux(clip, torch.where(inside, 5 * clip, clip), region, RATE)
    assert at_seam > 1.5 * usual
    assert seam_flux(clip, clip, region, RATE)[0] <= usual * 1.001


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    made = SoundCTMPipeline.from_pretrained(tiny.write_checkpoint(tmp_path_factory.mktemp("long")), device="cpu")
    made.set_progress_bar_config(disable=True)
    return made


def test_memory_does_not_grow_with_length(pipe):
    """Twenty seconds are 31 times the trained length; what it takes more is the sound and its latents."""
    pipe("rain", seconds=2.0)
    with PeakMemory(torch.device("cpu")) as peak:
        made = pipe("rain", seconds=20.0)
    if peak.bytes is None:
        pytest.skip("this system does not tell")
    sizes = made.audios.nbytes + made.latents.nbytes
    assert peak.bytes < 64 * 2**20 + 8 * sizes
