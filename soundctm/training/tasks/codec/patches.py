"""Fitting the linear mel VAE (`audioldm.patches`): principal components of the patches of training windows."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from soundctm.audioldm import AudioLDMCodec, LogMel, MelConfig
from soundctm.audioldm.codec import HEADROOM
from soundctm.audioldm.patches import PatchVAE
from soundctm.checkpoints import load_codec
from soundctm.config import check_ranges, option, save_config
from soundctm.data.rumble import CUTOFF
from soundctm.files import whole_folder
from soundctm.files.locks import held
from soundctm.training.tasks.codec.sounds import CodecSounds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PatchConfig:
    """Options of `ctm_train.py patches`."""

    corpus: str = option("data/corpus", "folder with corpus.csv and its clips")
    highpass: float = option(
        CUTOFF, "Hz below which clips lose their rumble and offset, read or made; 0 leaves them", low=0, high=4000
    )
    output_dir: str = option("exp/patches", "where the codec folder goes")
    vocoder_from: str | None = option(None, "codec folder whose vocoder goes into the new one; none leaves it out")
    patch_size: int = option(4, "mel frames and bands per latent", low=1)
    latent_channels: int = option(8, "principal components kept", low=1)
    whitening: float = option(0.5, "0 keeps the components' deviations, 1 makes them equal", low=0, high=1)
    windows: int = option(512, "training windows that the patches are taken from", low=8)
    refinements: int = option(4, "iterations of audioldm.refine after the vocoder", low=0)
    sigma_data: float = option(0.25, "standard deviation of the scaled latents", above=0)
    seconds: float = option(2.56, "clip length written as the codec's default", above=0)
    seed: int = option(0, "seed of the windows", low=0, high=2**62)

    def __post_init__(self) -> None:
        check_ranges(self)


def train(config: PatchConfig) -> Path:
    """Fit, write `<output_dir>/codec` and return its path."""
    with held(config.output_dir, "training"):
        return _fit(config, Path(config.output_dir))


@torch.no_grad()
def _fit(config: PatchConfig, output_dir: Path) -> Path:
    save_config(config, output_dir / "training_config.yaml")
    to_mel = LogMel(MelConfig())
    sounds = CodecSounds(config.corpus, "train", to_mel.config.sampling_rate, config.highpass)
    samples = round(config.seconds * to_mel.config.sampling_rate)
    rows = 8
    mel = torch.cat([to_mel(sounds.batch(config.seed, i, rows, samples)) for i in range(config.windows // rows)])
    vae = PatchVAE(config.patch_size, config.latent_channels).fit(mel, config.whitening)
    latents = vae.encode(mel).latent_dist.mean
    held_out = to_mel(
        CodecSounds(config.corpus, "test", to_mel.config.sampling_rate, config.highpass).excerpts(64, samples)
    )
    error = (vae.decode(vae.encode(held_out).latent_dist.mean).sample - held_out).abs().mean()
    logger.info("held-out mel L1 %.4f; deviations of the latents %s", error, latents.std((0, 2, 3)).tolist())
    vocoder = load_codec(config.vocoder_from).vocoder if config.vocoder_from else None
    scale = config.sigma_data / (latents - latents.mean((0, 2, 3), keepdim=True)).square().mean().sqrt().item()
    codec = AudioLDMCodec(
        vae, vocoder, to_mel, scale, config.seconds, config.refinements, highpass=config.highpass, peak=HEADROOM
    )
    with whole_folder(output_dir / "codec", replace=True, mark="config.json") as folder:
        codec.save_pretrained(folder, torch.float16)
    return output_dir / "codec"
