"""Memory formats by device: the same values, and nothing of one device's way left on another."""

import types

import torch

from soundctm.acceleration import lay_out
from soundctm.audioldm.vocoder import build_hifigan


def test_the_vocoder_runs_flat_on_a_cpu_and_as_built_elsewhere_with_the_same_waveforms():
    torch.manual_seed(0)
    vocoder, network = build_hifigan(channels=32).eval(), torch.nn.Conv2d(8, 8, 3)
    codec, mel = types.SimpleNamespace(vocoder=vocoder), torch.randn(2, 12, 64)
    with torch.no_grad():
        wanted = vocoder(mel)
        for _ in range(2):
            lay_out(network, codec, torch.device("cpu"))
            assert "forward" in vars(vocoder)
            torch.testing.assert_close(vocoder(mel), wanted, atol=1e-6, rtol=1e-4)
        assert not network.weight.is_contiguous(memory_format=torch.channels_last)
        lay_out(network, codec, torch.device("cuda"))  # what it does to the parts needs no GPU
        assert "forward" not in vars(vocoder)
        torch.testing.assert_close(vocoder(mel), wanted, atol=1e-6, rtol=1e-4)
    assert network.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_forward_that_somebody_else_put_there_stays():
    vocoder = build_hifigan(channels=32)
    vocoder.forward = other = lambda mel: mel
    lay_out(torch.nn.Conv2d(8, 8, 3), types.SimpleNamespace(vocoder=vocoder), torch.device("cuda"))
    assert vocoder.forward is other
