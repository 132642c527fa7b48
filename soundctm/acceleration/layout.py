"""The ways in which parts are fastest on a device: memory formats, libraries. No value changes but by rounding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from soundctm.acceleration.onednn import use_library, use_onednn
from soundctm.audioldm.hifigan import run_as_built, run_flat
from soundctm.audioldm.library import AutoencoderKL, SpeechT5HifiGan


def lay_out(
    network: nn.Module,
    codec: nn.Module,
    device: torch.device,
    text_encoder: nn.Module | None = None,
    half: bool = False,
) -> None:
    """Network, codec and text encoder in place, once they are on `device`.

    On a GPU the network's convolutions compute channels last, and turn every input and every weight around otherwise.
    The codec stays as it is there: on an H200 the VAE decoder was slower channels last, and HiFi-GAN as flat
    two-dimensional convolutions took six times as long as with its own. On a CPU the flat ones are the faster, the VAE
    decoder is faster channels last, and linear layers and attention are faster through oneDNN; with `half`, attention
    over many tokens is in bfloat16.
    """
    if device.type == "cuda":
        network.to(memory_format=torch.channels_last)
    on_cpu = device.type == "cpu"
    for part in (network, codec, text_encoder):
        if isinstance(part, nn.Module):
            use_onednn(part, half) if on_cpu else use_library(part)
    if isinstance(vae := getattr(codec, "vae", None), AutoencoderKL) and on_cpu:
        vae.decoder.to(memory_format=torch.channels_last)
    if isinstance(vocoder := getattr(codec, "vocoder", None), SpeechT5HifiGan):
        (run_flat if on_cpu else run_as_built)(vocoder)


def decoders(codec: nn.Module) -> Iterator[nn.Module]:
    """The networks of a codec between latents and waveforms."""
    if (vae := getattr(codec, "vae", None)) is not None and hasattr(vae, "decoder"):
        yield vae.decoder
    for name in ("vocoder", "decoder"):
        if isinstance(part := getattr(codec, name, None), nn.Module):
            yield part
