"""The codec that the diffusion models see: waveform <-> latents, with the mel inside.

encode: waveform -> log-mel -> z = scale_factor * (mean + std * noise)
decode: z -> VAE decoder of z / scale_factor -> log-mel -> vocoder -> waveform in [-1, 1]

What of a waveform is not to be heard goes at the end, where the codec's configuration says so (`highpass`, `peak`).
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .chunks import in_chunks
from .errors import CodecError
from .library import AutoencoderKL, apply_forward_hook
from .mel import LogMel, MelConfig
from .parts import UNUSABLE, read_config, shown
from .patches import PatchVAE
from .refine import refine
from .rumble import remove_rumble
from .vae import downsampling, load_vae, posterior, sample_noise
from .vocoder import layout, load_vocoder

CONTEXT = 16  # latent frames that a piece of a long clip sees on either side
HEADROOM = 0.89  # `peak` of codecs that are trained here: -1 dB, for what players and lossy files make of full scale
LONGEST = 3600.0  # seconds of a clip that a codec may have as its default
Generators = torch.Generator | Sequence[torch.Generator] | None


class AudioLDMCodec(nn.Module):
    """Mel VAE and vocoder behind one interface: `encode`, `decode`, `sampling_rate`, `latent_shape`.

    The vocoder may be absent while it is being trained; only `decode` needs it.
    """

    sample_format = "16"  # bits of a sample in a wav
    reading = "normalised"  # how its clips are read from files (soundctm.data.audio)

    def __init__(
        self,
        vae: AutoencoderKL | PatchVAE,
        vocoder: nn.Module | None,
        mel: LogMel | None = None,
        scale_factor: float = 1.0,
        default_seconds: float = 10.24,
        refinements: int = 0,
        highpass: float = 0.0,
        peak: float = 1.0,
    ) -> None:
        """`refinements` is how often the vocoder's waveform is drawn nearer to its mel (`audioldm.refine`).

        `highpass`: Hz below which made clips lose offset and rumble (`audioldm.rumble`); 0 leaves them. `peak`: largest
        |sample| of a made clip; what is louder is turned down to it. The official codec has 0 and 1. Raises CodecError
        for parts that do not go together.
        """
        super().__init__()
        self.vae = vae
        self.vocoder = vocoder
        self.mel = mel or LogMel()
        self.scale_factor = float(scale_factor)
        self.default_seconds = float(default_seconds)
        self.refinements = int(refinements)
        self.highpass, self.peak = float(highpass), float(peak)
        self._check_parts()
        self.eval().requires_grad_(False)

    def _check_parts(self) -> None:
        mel, patch = self.mel.config, self.frames_per_latent
        channels = (
            {1} if isinstance(self.vae, PatchVAE) else {self.vae.config.in_channels, self.vae.config.out_channels}
        )
        if channels != {1}:
            raise CodecError("a VAE of mels has one channel in and one out")
        if mel.n_mels % patch:
            raise CodecError(f"{mel.n_mels} mel bands cannot be cut into patches of {patch}")
        if self.vocoder is not None and layout(self.vocoder) != (mel.n_mels, mel.hop_length):
            bands, hop = layout(self.vocoder)
            raise CodecError(
                f"the vocoder is for {bands} mel bands and {hop} samples a frame; the mel has {mel.n_mels} bands and "
                f"{mel.hop_length} samples a frame"
            )
        if self.refinements and mel.hop_length >= mel.n_fft:
            raise CodecError(f"windows of {mel.n_fft} samples, one every {mel.hop_length}, do not overlap")

    @property
    def sampling_rate(self) -> int:
        """Hz."""
        return self.mel.config.sampling_rate

    @property
    def frames_per_latent(self) -> int:
        """Mel frames that one latent frame covers."""
        return downsampling(self.vae)

    @property
    def samples_per_latent(self) -> int:
        """Samples that one latent frame covers."""
        return self.mel.config.hop_length * self.frames_per_latent

    @property
    def can_decode(self) -> bool:
        """Is there a vocoder?"""
        return self.vocoder is not None

    def encoder_state(self) -> dict[str, Tensor]:
        """The weights that latents depend on."""
        return self.vae.state_dict()

    def encoder_to(self, device: torch.device | str) -> None:
        """Move what encodes, and leave the rest where it is."""
        self.vae.to(device)
        self.mel.to(device)

    @property
    def dtype(self) -> torch.dtype:
        return self.vae.dtype

    @property
    def device(self) -> torch.device:
        return self.vae.device

    def latent_shape(self, seconds: float | None = None) -> tuple[int, int, int]:
        """(channels, latent frames, latent mel bands) of a clip of `seconds`, rounded to the nearest latent frame."""
        seconds = self.default_seconds if seconds is None else seconds
        frames = round(seconds * self.sampling_rate / self.samples_per_latent)
        if frames < 1:
            raise CodecError(f"{seconds} seconds are too short; one latent frame is {self.samples_per_latent} samples")
        return self.vae.config.latent_channels, frames, self.mel.config.n_mels // self.frames_per_latent

    def in_dtype(self, dtype: torch.dtype) -> AudioLDMCodec:
        """Its networks in `dtype`; the log-mel stays float32, because half precision would round its window."""
        for part in (self.vae, self.vocoder):
            if part is not None:
                nn.Module.to(part, dtype)
        return self

    @apply_forward_hook
    def encode(self, waveform: Tensor, generator: Generators = None, sample_posterior: bool = True) -> Tensor:
        """Latents [B, C, T/4, mels/4], times scale_factor, of waveforms [B, samples] in [-1, 1].

        The posterior is sampled with `generator` (one, or one per row), or its mean taken.
        """
        return self.encode_mel(self.mel(waveform.to(self.device)), generator, sample_posterior)

    @torch.no_grad()
    def encode_mel(self, mel: Tensor, generator: Generators = None, sample_posterior: bool = True) -> Tensor:
        """Latents of log-mels [B, 1, T, mels]; frames beyond a multiple of `frames_per_latent` are cut."""
        frames = mel.shape[2] // self.frames_per_latent * self.frames_per_latent
        if mel.ndim != 4 or mel.shape[1] != 1 or mel.shape[3] != self.mel.config.n_mels or frames == 0:
            raise CodecError(
                f"log-mels must be [B, 1, T, {self.mel.config.n_mels}] with T of at least {self.frames_per_latent}, "
                f"not {tuple(mel.shape)}"
            )
        mean, std = posterior(self.vae, mel[:, :, :frames].to(self.dtype))
        latents = mean + std * sample_noise(mean, generator) if sample_posterior else mean
        return self.scale_factor * latents

    @torch.no_grad()
    def moments(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance float32 [B, C, T/4, mels/4] of [B, samples], before scale_factor.

        Frames that fill no latent frame are cut. Latents are scale_factor * (mean + exp(logvar / 2) * noise).
        """
        mel = self.mel(waveform)
        mel = mel[:, :, : mel.shape[2] // self.frames_per_latent * self.frames_per_latent]
        distribution = self.vae.encode(mel.to(next(self.vae.parameters()).dtype)).latent_dist
        return distribution.mean.float(), distribution.logvar.float()

    def decode_mel(self, latents: Tensor) -> Tensor:
        """Log-mels [B, 1, T, mels] of latents [B, C, T/4, mels/4]; differentiable."""
        channels, _, bands = self.latent_shape()
        if latents.ndim != 4 or latents.shape[1] != channels or latents.shape[3] != bands:
            raise CodecError(f"latents must be [B, {channels}, frames, {bands}], not {tuple(latents.shape)}")
        return self.vae.decode(latents.to(self.dtype) / self.scale_factor).sample

    @torch.no_grad()
    def mel_to_waveform(self, mel: Tensor) -> Tensor:
        """Waveforms [B, T * hop_length], float32 in [-1, 1], of log-mels [B, 1, T, mels].

        A mel may ask for more than full scale (strong guidance does); such a clip is turned down, never cut off.
        """
        return self._finished(self._render(mel))

    def synthesise(self, latents: Tensor) -> Tensor:
        """Waveforms as `decode` gives them, but differentiable: as the vocoder makes them, nothing done to them."""
        return self._vocode(self.decode_mel(latents)).float()

    @apply_forward_hook
    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Waveforms [B, samples], float32 in [-1, 1], of latents [B, C, T/4, mels/4]; samples = T * hop_length.

        Long clips are decoded in pieces of the default length, so that memory does not grow with the length.
        """
        chunk = self.latent_shape()[1]
        return self._finished(
            in_chunks(lambda z: self._render(self.decode_mel(z)), latents, chunk, CONTEXT, self.samples_per_latent)
        )

    def _finished(self, waveform: Tensor) -> Tensor:
        waveform = remove_rumble(waveform, self.sampling_rate, self.highpass)
        return waveform / (waveform.abs().amax(dim=1, keepdim=True) / self.peak).clamp_min(1.0)

    def _render(self, mel: Tensor) -> Tensor:
        waveform = self._vocode(mel)
        if self.refinements:
            waveform = refine(waveform, mel, self.mel, self.refinements)
        return waveform.float()

    def _vocode(self, mel: Tensor) -> Tensor:
        if self.vocoder is None:
            raise CodecError("this codec has no vocoder yet; train one with `ctm_train.py vocoder`")
        samples = mel.shape[2] * self.mel.config.hop_length
        # HiFi-GAN's first upsampler gives one frame more than its stride asks for: 32 samples too many.
        return self.vocoder(mel[:, 0].to(self.dtype))[:, :samples]

    def save_pretrained(self, folder: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
        """Write `config.json`, `vae/` and `vocoder/` as safetensors; `dtype=torch.float16` halves their size."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        values = {
            "_class_name": type(self).__name__,
            "scale_factor": self.scale_factor,
            "default_seconds": self.default_seconds,
            "refinements": self.refinements,
            "highpass": self.highpass,
            "peak": self.peak,
            "mel": dataclasses.asdict(self.mel.config),
        }
        (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        own = self.dtype
        for name, part in (("vae", self.vae), ("vocoder", self.vocoder)):
            if part is not None:
                # nn.Module.to, because diffusers' own `to` warns at every change of precision.
                nn.Module.to(part, dtype or own)
                for tensor in part.parameters():
                    tensor.data = tensor.data.contiguous()  # as files want it, whatever runs fastest
                part.save_pretrained(folder / name)
                nn.Module.to(part, own)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike,
        dtype: torch.dtype = torch.float32,
        parts: tuple[nn.Module, nn.Module | None] | None = None,
    ) -> AudioLDMCodec:
        """Read what `save_pretrained` wrote, in memory as `dtype`; of `parts`, VAE and vocoder, only the configuration.

        Raises CodecError for a folder that is no codec.
        """
        folder = Path(folder)
        try:
            values = read_config(folder)
            mel = LogMel(MelConfig(**values["mel"]))
            scale_factor = _number(values, "scale_factor", 1e-6, 1e6)
            seconds = _number(values, "default_seconds", 1e-3, LONGEST)
            rate = mel.config.sampling_rate
            finishing = (
                int(_number({"refinements": 0, **values}, "refinements", 0, 1000)),
                _number({"highpass": 0.0, **values}, "highpass", 0, rate / 4),
                _number({"peak": 1.0, **values}, "peak", 0.01, 1),
            )
        except UNUSABLE as error:
            raise CodecError(f"{folder} is not a codec folder: its config.json cannot be used ({error})") from error
        if parts is None:
            vocoder = load_vocoder(folder / "vocoder", dtype) if (folder / "vocoder").is_dir() else None
            parts = load_vae(folder / "vae", dtype), vocoder
        try:
            return cls(*parts, mel, scale_factor, seconds, *finishing)
        except CodecError as error:
            raise CodecError(f"the codec in {folder}: {error}") from error


def _number(values: dict, name: str, low: float, high: float) -> float:
    value = values[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise CodecError(f"{name} is {shown(value)}; it must be a number from {low:g} to {high:g}")
    return float(value)
