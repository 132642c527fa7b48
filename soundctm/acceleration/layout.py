"""The memory format in which a part is fastest on a device. No value changes, only where it lies."""

from __future__ import annotations

import torch
from torch import nn

from soundctm.audioldm.hifigan import run_as_built, run_flat
from soundctm.audioldm.library import SpeechT5HifiGan


def lay_out(network: nn.Module, codec: nn.Module, device: torch.device) -> None:
    """Network and codec in place, once they are on `device`.

    On a GPU the network's convolutions compute channels last, and turn every input and every weight around otherwise.
    The codec stays as it is there: on an H200 the VAE decoder was slower channels last, and HiFi-GAN as flat
    two-dimensional convolutions took six times as long as with its own. On a CPU the flat ones are the faster.
    """
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)
    if isinstance(vocoder := getattr(codec, "vocoder", None), SpeechT5HifiGan):
        (run_flat if device.type == "cpu" else run_as_built)(vocoder)
