"""The memory format in which a part is fastest on a GPU. No value changes, only where it lies."""

from __future__ import annotations

import torch
from torch import nn

from soundctm.audioldm.hifigan import run_flat
from soundctm.audioldm.library import AutoencoderKL, SpeechT5HifiGan


def lay_out(network: nn.Module, codec: nn.Module, device: torch.device) -> None:
    """Network and codec in place, once they are on `device`; nothing happens where it is no GPU.

    Convolutions there compute channels last, and without this turn every input and every weight around in each call.
    """
    if device.type != "cuda":
        return
    network.to(memory_format=torch.channels_last)
    if isinstance(vae := getattr(codec, "vae", None), AutoencoderKL):
        nn.Module.to(vae, memory_format=torch.channels_last)
    if isinstance(vocoder := getattr(codec, "vocoder", None), SpeechT5HifiGan):
        run_flat(vocoder)
