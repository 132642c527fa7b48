"""What control costs and reaches: captions x target curves x methods on a checkpoint.

    python -m benchmarks.control --corpus data/corpus --output_dir outputs/control            # 100 captions, 4 curves
    python -m benchmarks.control --corpus data/corpus --output_dir outputs/control --captions 20 --curves rise two-hits

One row per method and number of steps: the intensity error (dB^2, mean over frames, clips and curves, of the waveform),
the class accuracy (soundctm.evaluation.models.class_accuracy), FAD over YAMNet's embeddings against the real training
clips, and seconds per clip. A row that is finished is kept in OUTPUT_DIR/results.json, so the same command goes on
where it stopped; other options need another folder. Captions: data/class_prompts.csv, classes in turn.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from soundctm.command import exit_code
from soundctm.control import SHAPES, Control, Objective, intensity, shape
from soundctm.data.corpus import DATA_FOLDER, load_corpus, present_rows
from soundctm.errors import UserError
from soundctm.evaluation.models import class_accuracy
from soundctm.evaluation.models.classes import CLASSES, NAMES, rows_by_class
from soundctm.evaluation.models.classifier import LinearClassifier, clip_features, per_class_accuracy
from soundctm.evaluation.statistics.frechet import frechet_distance
from soundctm.files import write_whole
from soundctm.pipeline import SoundCTMPipeline
from soundctm.seeds import clip_seeds

log = logging.getLogger(__name__)

SEED = 3
# name, steps, method (None: no control), options of Control
METHODS = (
    ("none", 1, None, {}),
    ("none", 4, None, {}),
    ("noise", 1, "noise", {}),
    ("noise, decoded with 4", 4, "noise", {}),
    ("network", 4, "network", {}),
    ("mean", 1, "mean", {}),
    ("mean", 4, "mean", {}),
    ("mean, to 150 dB^2", 4, "mean", {"threshold": 150.0}),
)


def prompts(count: int) -> list[dict[str, str]]:
    """`count` rows of the class prompts, classes in turn."""
    with (DATA_FOLDER / "class_prompts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_class = [[row for row in rows if row["label"] == name] for name in NAMES]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_class))
    return [row for row in turns if row is not None][:count]


class Judge:
    """Class accuracy and FAD of waveforms, by YAMNet and a classifier fitted on real clips."""

    def __init__(self, corpus: Path) -> None:
        rows = present_rows(load_corpus(corpus), corpus)
        train = [r for members in rows_by_class(r for r in rows if r.split == "train").values() for r in members]
        self.net = class_accuracy.load_yamnet()
        known = class_accuracy.real_items(train, corpus, self.net, class_accuracy.ITEMS_PER_CLASS)
        self.real = known.features
        self.classifier = LinearClassifier(len(CLASSES)).fit(known.features, known.targets)

    def __call__(self, waveforms: torch.Tensor, labels: Sequence[str]) -> tuple[float, float]:
        features, _ = clip_features(self.net, waveforms)
        targets = torch.tensor([NAMES.index(label) for label in labels])
        per_class = per_class_accuracy(self.classifier.predict(features), targets, NAMES)
        return sum(per_class.values()) / len(per_class), frechet_distance(self.real, features, level=None).value


def measure(pipe, judge, rows, curves, batch_size, steps, method, options) -> dict[str, float]:
    """One row of the table."""
    captions, labels = [row["caption"] for row in rows], [row["label"] for row in rows]
    seeds, seconds = clip_seeds(SEED, captions), pipe.defaults.seconds or pipe.codec.default_seconds
    errors, waveforms, begun = [], [], time.perf_counter()
    for name in curves:
        objective = Objective(intensity, shape(name, seconds))
        control = None if method is None else Control(objective, method, **options)
        made = pipe(captions, steps, seed=seeds, batch_size=batch_size, control=control)
        audio = torch.from_numpy(made.audios)
        errors.append(objective.error_of_waveform(audio, made.sampling_rate).mean().item())
        waveforms.append(audio)
    took = (time.perf_counter() - begun) / (len(rows) * len(curves))
    accuracy, fad = judge(torch.cat(waveforms), labels * len(curves))
    return {"error": sum(errors) / len(errors), "fad": fad, "accuracy": accuracy, "seconds": took} | {
        f"error {name}": error for name, error in zip(curves, errors, strict=True)
    }


def table(results: dict[str, dict[str, float]]) -> str:
    """The results in markdown."""
    lines = ["| method | steps | error, dB² | FAD-YAMNet | class accuracy | s per clip |", "|---|---|---|---|---|---|"]
    for key, row in results.items():
        name, steps = key.rsplit(" | ", 1)
        values = f"{row['error']:.1f} | {row['fad']:.0f} | {row['accuracy']:.3f} | {row['seconds']:.2f}"
        lines.append(f"| {name} | {steps} | {values} |")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Measure what is not there yet and print the table."""
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path, asked = folder / "results.json", {n: getattr(args, n) for n in ("checkpoint", "captions", "curves")}
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"asked": asked, "rows": {}}
    if stored["asked"] != asked:
        raise UserError(f"{path} holds the results of {stored['asked']}; give another --output_dir")
    missing = [item for item in METHODS if f"{item[0]} | {item[1]}" not in stored["rows"]]
    if missing:
        pipe = SoundCTMPipeline.from_pretrained(args.checkpoint, device=args.device)
        judge, rows = Judge(Path(args.corpus)), prompts(args.captions)
    for name, steps, method, options in missing:
        row = measure(pipe, judge, rows, args.curves, args.batch_size, steps, method, options)
        stored["rows"][f"{name} | {steps}"] = row
        write_whole(path, json.dumps(stored, indent=2) + "\n")
        log.info("%s, %d steps: %s", name, steps, {key: round(value, 3) for key, value in row.items()})
    print(table(stored["rows"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 for wrong use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="ckpt/mini")
    parser.add_argument("--corpus", default="data/corpus", help="a built corpus folder")
    parser.add_argument("--output_dir", default="outputs/control")
    parser.add_argument("--captions", type=int, default=100)
    parser.add_argument("--curves", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--batch_size", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
