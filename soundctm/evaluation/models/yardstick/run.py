"""One row: class accuracy over all labels, KAD and FAD without silence, levels, over several seeds."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from soundctm.config import option
from soundctm.data.captions import load_caption_table
from soundctm.data.compose import NUM_SAMPLES, ComposedCorpus
from soundctm.data.corpus import load_corpus, present_rows
from soundctm.devices import default_device
from soundctm.errors import UserError
from soundctm.evaluation.extractors.yamnet import YAMNet, load_yamnet
from soundctm.evaluation.models.yardstick import labels as judging
from soundctm.evaluation.models.yardstick import sounds
from soundctm.files import write_whole
from soundctm.pipeline import SoundCTMPipeline

log = logging.getLogger(__name__)

TOGETHER = 16  # clips made at once


@dataclass(frozen=True)
class YardstickOptions:
    """Options of `python -m soundctm.evaluation.models.yardstick`."""

    corpus: str = option("data/corpus", "a built corpus folder")
    model: str = option("ckpt/mini", "checkpoint folder")
    weights: str = option("ema", "which networks of it", choices=("ema", "student", "teacher"))
    steps: int | None = option(None, "network calls of a student, levels of a teacher; none: as the checkpoint says")
    omega: float | None = option(None, "guidance; none: as the checkpoint says")
    seeds: int = option(3, "seeds; each makes all clips anew")
    clips: int = option(10, "clips per label and seed")
    phrasings: str = option("held_out", "captions: not used in training, or used", choices=judging.PHRASINGS)
    distances: bool = option(True, "KAD, FAD and levels over all test clips as well")
    device: str | None = option(None, "cpu, cuda, ...; none: what there is")
    output: str | None = option(None, "JSON with all numbers, if wanted")

    def __post_init__(self) -> None:
        for name in ("seeds", "clips"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1")


def measure(options: YardstickOptions) -> dict[str, Any]:
    """Make the clips, judge them, print the row, and write all numbers to `output`. Raises UserError."""
    rows = present_rows(load_corpus(options.corpus), options.corpus)
    labels, table = judging.judged_labels(rows), load_caption_table()
    device = options.device or default_device()
    pipeline = SoundCTMPipeline.from_pretrained(options.model, options.weights, device=device)
    pipeline.set_progress_bar_config(disable=True)
    net = load_yamnet()
    items, names = ComposedCorpus(rows, options.corpus, speed_changes=False, table=table), list(labels)
    real = judging.featured(labels, items, lambda waves: _features(sounds.clip_embeddings(net, waves)))
    bound = judging.cross_validated(real, names)
    log.info("%d labels with %d groups or more; real clips: %.3f", len(names), judging.FEWEST, bound.mean)
    captions = judging.captions_of(names, table, options.phrasings)
    targets = torch.arange(len(names)).repeat_interleave(options.clips)
    seeds = []
    for seed in range(options.seeds):
        asked = [captions[name] for name in names for _ in range(options.clips)]
        waveforms = generate(pipeline, asked, seed, options)
        features = _features(sounds.clip_embeddings(net, waveforms))
        seeds.append(judging.judged(real, features, targets, names))
    mean = judging.Accuracy({n: statistics.fmean(seed.by_label[n] for seed in seeds) for n in names})
    row: dict[str, Any] = {
        "model": options.model, "weights": options.weights, "steps": options.steps, "omega": options.omega,
        "phrasings": options.phrasings, "labels": len(names), "clips_per_label": options.clips, "seeds": options.seeds,
        "accuracy": mean.mean, "accuracy_of_seeds": [seed.mean for seed in seeds], "real": bound.mean,
        "share_of_real": mean.mean / bound.mean, "bottom_quarter": mean.bottom_quarter, "chance": 1 / len(names),
        "by_label": mean.by_label, "real_by_label": bound.by_label, "captions": captions, "yamnet": net.weights_hash,
    }  # fmt: skip
    if options.distances:
        row |= test_clips(pipeline, net, items, [r for r in rows if r.split == "test"], options)
    if options.output is not None:
        write_whole(Path(options.output), json.dumps(row, indent=2) + "\n")
    print(line(row))
    return row


def test_clips(
    pipeline: SoundCTMPipeline, net: YAMNet, items: ComposedCorpus, rows: Sequence, options: YardstickOptions
) -> dict[str, Any]:
    """Distances and levels between all test clips and as many made for their captions, per seed and of all seeds."""
    if not rows:
        raise UserError(f"{options.corpus} has no test clips; give --distances false")
    found = [items.from_row(row, 0) for row in rows]
    real, captions = torch.stack([found_[0] for found_ in found]), [found_[1] for found_ in found]
    heard, real_levels = sounds.audible(sounds.clip_embeddings(net, real), real), sounds.levels(real)
    embeddings, waveforms, parts = [], [], []
    for seed in range(options.seeds):
        made = generate(pipeline, captions, seed, options)
        frames = sounds.audible(sounds.clip_embeddings(net, made), made)
        parts.append({name: score["value"] for name, score in sounds.distances(heard, frames).items()})
        embeddings += frames
        waveforms.append(made)
    whole = torch.cat(waveforms)
    return {
        "test_clips": len(rows),
        "silent_clips": {"real": len(real) - len(heard), "made": len(whole) - len(embeddings)},
        "distances": sounds.distances(heard, embeddings),
        "distances_of_seeds": parts,
        "levels": sounds.compared_levels(real_levels, sounds.levels(whole)),
    }


def generate(pipeline: SoundCTMPipeline, captions: Sequence[str], seed: int, options: YardstickOptions) -> Tensor:
    """Clips [N, NUM_SAMPLES] at the corpus's rate: what is longer is cut, what is shorter gets silence."""
    made = torch.zeros(len(captions), NUM_SAMPLES)
    starts = range(0, len(captions), TOGETHER)
    for start in tqdm(starts, f"seed {seed}", unit="batch", mininterval=5):
        some = list(captions[start : start + TOGETHER])
        numbers = [seed * 1_000_003 + start + k for k in range(len(some))]
        out = pipeline(some, options.steps, omega=options.omega, seed=numbers)
        audios = torch.from_numpy(out.audios)[:, :NUM_SAMPLES]
        made[start : start + len(some), : audios.shape[1]] = audios
    return made


def line(row: dict[str, Any]) -> str:
    """The row for people."""
    text = (
        f"{row['model']} {row['weights']}, {row['steps'] or 'default'} steps, {row['phrasings']} phrasings: accuracy "
        f"{row['accuracy']:.3f} of real {row['real']:.3f} = {row['share_of_real']:.2f} over {row['labels']} labels "
        f"(seeds {min(row['accuracy_of_seeds']):.3f} to {max(row['accuracy_of_seeds']):.3f}), bottom quarter "
        f"{row['bottom_quarter']:.3f}, chance {row['chance']:.3f}"
    )
    for name, score in row.get("distances", {}).items():
        text += f"; {name} {score['value']:z.2f} [{score['low']:z.2f}, {score['high']:z.2f}]"
    for name, both in row.get("levels", {}).items():
        text += f"; {name} {both['made']:z.2f} (real {both['real']:z.2f}, {both['apart']:z.2f} apart)"
    return text


def _features(embeddings: Sequence[Tensor]) -> Tensor:
    return torch.stack([clip.mean(0) for clip in embeddings])
