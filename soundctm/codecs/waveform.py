"""The 44.1 kHz autoencoder of SoundCTM-DiT: waveform <-> latents [B, C, T], no mel between.

    encode    waveform -> DAC encoder -> 1x1 convolution -> z = mean + std * noise -> 0.5 (z - z_mean) / z_std
    decode    2 z_std x + z_mean -> 1x1 convolution -> DAC decoder -> waveform in [-1, 1]

Encoder and decoder are transformers' DAC; the statistics are per channel. Weight norm is folded when a file is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import DacConfig
from transformers.models.dac.modeling_dac import DacDecoder, DacEncoder

from soundctm.audioldm.errors import CodecError
from soundctm.audioldm.library import apply_forward_hook
from soundctm.audioldm.vae import sample_noise

SPREAD = 0.5  # standard deviation of the network's latents
LOWEST_LOGVAR, HIGHEST_LOGVAR = -30.0, 20.0
CHUNK, MARGIN = 512, 32  # latent frames decoded at once, and on each side of them what is decoded and thrown away
LONGEST = 3600.0  # seconds of a clip that a codec may have as its default
STATISTICS = ("z_mean", "z_std")
OPTIONS = ("rates", "latent_channels", "encoder_width", "decoder_width", "sampling_rate", "default_seconds")
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class WaveformCodec(nn.Module):
    """`encode`, `decode`, `sampling_rate`, `latent_shape`, as the mel codec has them; latents are [B, C, T]."""

    scale_factor = 1.0  # `moments` are of normalised latents already
    can_decode = True
    sample_format = "float"
    reading = "plain"  # how its clips are read from files (soundctm.data.audio)

    def __init__(
        self,
        rates: Sequence[int],
        latent_channels: int = 64,
        encoder_width: int = 64,
        decoder_width: int = 1536,
        sampling_rate: int = 44_100,
        default_seconds: float = 10.031,
    ) -> None:
        """`rates` are the encoder's strides; their product is the number of samples of a latent frame."""
        super().__init__()
        if not rates or any(rate < 2 or rate % 2 for rate in rates):
            raise CodecError(f"strides {list(rates)}: all must be even numbers, for lengths to come out whole")
        if decoder_width % 2 ** len(rates):
            raise CodecError(f"a decoder of width {decoder_width} cannot be halved {len(rates)} times")
        if not 1e-3 <= default_seconds <= LONGEST:
            raise CodecError(f"default_seconds is {default_seconds}; it must be a number from 0.001 to {LONGEST:g}")
        self.rates, self.latent_channels = tuple(rates), latent_channels
        self.encoder_width, self.decoder_width = encoder_width, decoder_width
        self.sampling_rate, self.default_seconds = int(sampling_rate), float(default_seconds)
        sizes = {"encoder_hidden_size": encoder_width, "decoder_hidden_size": decoder_width}
        strides = {"downsampling_ratios": list(rates), "upsampling_ratios": list(reversed(rates))}
        encoder, decoder = DacConfig(**sizes, **strides), DacConfig(**sizes, **strides)
        encoder.hidden_size, decoder.hidden_size = 2 * latent_channels, latent_channels  # DacConfig derives others
        self.encoder, self.decoder = DacEncoder(encoder), DacDecoder(decoder)
        self.pre_conv = nn.Conv1d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_conv = nn.Conv1d(latent_channels, latent_channels, 1)
        self.register_buffer("z_mean", torch.zeros(latent_channels))
        self.register_buffer("z_std", torch.full((latent_channels,), SPREAD))
        self.eval().requires_grad_(False)

    @property
    def samples_per_latent(self) -> int:
        """Samples that one latent frame covers."""
        return math.prod(self.rates)

    @property
    def device(self) -> torch.device:
        return self.z_mean.device

    @property
    def dtype(self) -> torch.dtype:
        return self.pre_conv.weight.dtype

    def in_dtype(self, dtype: torch.dtype) -> Self:
        """Its weights in `dtype`; the statistics stay float32, because latents are multiplied by them."""
        for part in (self.encoder, self.decoder, self.pre_conv, self.post_conv):
            part.to(dtype)
        return self

    def encoder_state(self) -> dict[str, Tensor]:
        """The tensors that latents depend on."""
        return {k: v for k, v in self.state_dict().items() if not k.startswith(("decoder.", "post_conv."))}

    def encoder_to(self, device: torch.device | str) -> None:
        """Move what encodes; here all of it."""
        self.to(device)

    def latent_shape(self, seconds: float | None = None) -> tuple[int, int]:
        """(channels, latent frames) of a clip of `seconds`; the last frame may be partly silence."""
        seconds = self.default_seconds if seconds is None else seconds
        frames = math.ceil(int(seconds * self.sampling_rate) / self.samples_per_latent)
        if frames < 1:
            raise CodecError(f"{seconds} seconds are too short; one latent frame is {self.samples_per_latent} samples")
        return self.latent_channels, frames

    def posterior(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance [B, C, T] of [B, samples], zero-padded at the end, before normalisation."""
        missing = -waveform.shape[1] % self.samples_per_latent
        padded = nn.functional.pad(waveform, (0, missing))[:, None].to(self.dtype)
        mean, logvar = self.pre_conv(self.encoder(padded)).float().chunk(2, dim=1)
        return mean, logvar.clamp(LOWEST_LOGVAR, HIGHEST_LOGVAR)

    @torch.no_grad()
    def moments(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance float32 [B, C, T] of the normalised latents of [B, samples] in [-1, 1]."""
        mean, logvar = self.posterior(waveform)
        return self.normalise(mean), logvar + 2 * (SPREAD / self.z_std.float())[:, None].log()

    @apply_forward_hook
    def encode(
        self,
        waveform: Tensor,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        sample_posterior: bool = True,
    ) -> Tensor:
        """Latents [B, C, T] of [B, samples]; the posterior is sampled with `generator`, or its mean taken."""
        mean, logvar = self.moments(waveform.to(self.device))
        return mean + (logvar / 2).exp() * sample_noise(mean, generator) if sample_posterior else mean

    def normalise(self, z: Tensor) -> Tensor:
        """Latents of the autoencoder [B, C, T] -> those of the network."""
        return SPREAD * (z - self.z_mean.float()[:, None]) / self.z_std.float()[:, None]

    def denormalise(self, x: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return x * self.z_std.float()[:, None] / SPREAD + self.z_mean.float()[:, None]

    @apply_forward_hook
    @torch.no_grad()
    def decode(self, latents: Tensor, chunk: int = CHUNK) -> Tensor:
        """Waveforms float32 [B, samples] in [-1, 1] of latents [B, C, T], `chunk` frames at a time.

        A clip of the default length has int(default_seconds * sampling_rate) samples, any other whole frames.
        """
        if latents.ndim != 3 or latents.shape[1] != self.latent_channels:
            raise CodecError(f"latents must be [B, {self.latent_channels}, frames], not {tuple(latents.shape)}")
        waveform = self.decode_frames(self.denormalise(latents.float()), chunk)
        whole = latents.shape[2] == self.latent_shape()[1]
        return waveform[:, : int(self.default_seconds * self.sampling_rate)] if whole else waveform

    def synthesise(self, latents: Tensor) -> Tensor:
        """Waveforms of whole latents [B, C, T] at once, differentiable."""
        return self.decoder(self.post_conv(self.denormalise(latents.float()).to(self.dtype)))[:, 0].float()

    def decode_frames(self, z: Tensor, chunk: int = CHUNK) -> Tensor:
        """Waveforms [B, T * samples_per_latent] of z [B, C, T] before normalisation.

        Chunks overlap by MARGIN frames on both sides, beyond which a frame is not heard: the result is that of all
        frames at once.
        """
        frames, hop = z.shape[2], self.samples_per_latent
        pieces = []
        for start in range(0, frames, chunk):
            end = min(start + chunk, frames)
            left, right = max(0, start - MARGIN), min(frames, end + MARGIN)
            sound = self.decoder(self.post_conv(z[:, :, left:right].to(self.dtype)))[:, 0]
            pieces.append(sound[:, (start - left) * hop : (end - left) * hop].float())
        return torch.cat(pieces, dim=1)

    def save_pretrained(self, folder: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
        """Write `config.json` and the weights in `dtype` (default: theirs) as safetensors; statistics stay float32.

        Raises CodecError for weights that are not finite in `dtype`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: value.to("cpu", torch.float32 if name in STATISTICS else dtype).contiguous()
            for name, value in self.state_dict().items()
        }
        for name, value in state.items():
            if not bool(value.isfinite().all()):
                raise CodecError(f"not saved to {folder}: {name} would not be finite as {value.dtype}")
        (folder / CONFIG).write_text(json.dumps(self.config(), indent=2) + "\n", encoding="utf-8")
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})

    def config(self) -> dict[str, Any]:
        """What `from_config` takes, as it is in `config.json`."""
        values = {name: getattr(self, name) for name in OPTIONS}
        return {"_class_name": type(self).__name__, **values, "rates": list(self.rates)}

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Self:
        """A codec of random weights. Raises CodecError for options that are missing, unknown or of the wrong kind."""
        own = {name: value for name, value in values.items() if not name.startswith("_")}
        if own.keys() != set(OPTIONS):
            raise CodecError(f"a {cls.__name__} has the options {', '.join(OPTIONS)}, not {', '.join(map(str, own))}")
        numbers = [own[name] for name in OPTIONS[1:]]
        if not isinstance(own["rates"], list | tuple) or not all(_number(value) for value in (*own["rates"], *numbers)):
            raise CodecError("`rates` must be a list of numbers, and all other options numbers")
        return cls(**own)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
