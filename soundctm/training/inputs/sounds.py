"""Latents of sounds for a diffusion training: of items composed from the corpus, or of one's own clips."""

from __future__ import annotations

import logging
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from soundctm.audioldm.codec import AudioLDMCodec
from soundctm.checkpoints import codec_class
from soundctm.data.audio import SAMPLING_RATE, ClipForm
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
from soundctm.training.inputs.source import SourceConfig, check_bad

logger = logging.getLogger(__name__)


def open_latents(
    config: SourceConfig, codec: AudioLDMCodec, accelerator: Accelerator
) -> tuple[Latents, Latents | None]:
    """(training latents, held-out latents or None), encoded now in the run's precision or read from the cache."""
    if config.train_file and config.train_shards:
        raise UserError("train_file and train_shards are two data sets; give one of them")
    if config.train_file or config.train_shards:
        return open_clips(config, codec, accelerator)
    for name, reason in (("mix_share", "are mixtures already"), ("polarity", "are kept as latents alone")):
        if getattr(config, name):
            raise UserError(f"{name} is for train_file and train_shards; items composed from the corpus {reason}")
    return open_corpus(config, codec, accelerator)


def open_corpus(
    config: SourceConfig, codec: AudioLDMCodec, accelerator: Accelerator
) -> tuple[LatentDataset, LatentDataset | None]:
    """Items composed from the corpus. One process of each machine encodes, the others wait and read."""
    folder = Path(config.cache_dir)
    if codec.sampling_rate != SAMPLING_RATE:
        raise UserError(
            f"the corpus holds sounds at {SAMPLING_RATE} Hz, and this codec takes {codec.sampling_rate} Hz; "
            "give sounds of that band with --train_file or --train_shards"
        )
    samples = round(codec.default_seconds * codec.sampling_rate)

    def build(split: str, count: int, seed: int) -> LatentDataset:
        rows = load_corpus(config.corpus, split)
        corpus = ComposedCorpus(rows, config.corpus, seed=seed, num_samples=samples, highpass=config.highpass)
        path = folder / f"{split}-{count}.safetensors"
        return latent_dataset(
            corpus, codec, count, path, batch_size=4 if accelerator.device.type == "cpu" else 64,
            device=accelerator.device, bf16=accelerator.mixed_precision == "bf16",
            workers=worker_count(config.num_workers, accelerator.device), progress=accelerator.is_main_process,
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
    form = form_of(codec, config.highpass)

    def build(table: str, root: str | None) -> ClipLatents:
        return clip_latents(
            read_captioned_files(table, root, must_exist=False), codec, Path(config.cache_dir) / "clips", form,
            device=accelerator.device, bf16=accelerator.mixed_precision == "bf16",
            workers=worker_count(config.num_workers, accelerator.device),
            rank=accelerator.process_index, world=accelerator.num_processes, gather=gather_object,
            progress=accelerator.is_main_process,
        )  # fmt: skip

    held_out = None
    if config.validation_file:
        held_out = build(config.validation_file, config.validation_audio_dir or config.audio_dir).readable()
    if config.train_shards:
        shape = codec.latent_shape(form.num_samples / codec.sampling_rate)
        folder = Path(config.cache_dir) / "shards"
        shards = ShardedClips(config.train_shards, folder, form, codec.scale_factor, shape, config.shard_cache_gib)
        return shards, held_out
    data = build(config.train_file, config.audio_dir)
    check_bad(data.reasons.values(), len(data), config.max_bad_clips)
    return data, held_out


def form_of(codec: AudioLDMCodec, highpass: float = 0.0) -> ClipForm:
    """The clips that `codec` takes, of its own length."""
    samples = round(codec.default_seconds * codec.sampling_rate)
    return ClipForm(samples, codec.sampling_rate, codec.reading, highpass)


def check_data(config: SourceConfig) -> bool:
    """The pass of `validate_data`: a report per CSV in `output_dir`; whether nothing is wrong.

    Raises UserError without a `train_file`, and without a codec, which decides what is heard of a sound.
    """
    if not config.train_file:
        raise UserError("validate_data checks the sounds of train_file; give one")
    good, reading = True, codec_class(config.codec).reading
    for table, root in (
        (config.train_file, config.audio_dir),
        (config.validation_file, config.validation_audio_dir or config.audio_dir),
    ):
        if table is None:
            continue
        problems = check_table(table, root, config.num_workers if config.num_workers > 0 else None, reading=reading)
        report = Path(config.output_dir) / f"{Path(table).stem}-problems.csv"
        write_report(problems, report)
        logger.info("%s: %s; listed in %s", table, summary(problems), report)
        good = good and not problems
    return good
