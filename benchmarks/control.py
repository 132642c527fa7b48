"""What control costs and reaches: captions x target curves x methods on a checkpoint.

    python -m benchmarks.control --corpus data/corpus --output_dir outputs/control            # 100 captions, 4 curves
    python -m benchmarks.control --corpus data/corpus --output_dir outputs/control_25 --captions 25

One row per method and number of steps: the intensity error (dB^2, mean over frames, clips and curves, of the waveform),
the class accuracy by two judges (`benchmarks.judging`: one fitted on real clips as they are, one that knows courses of
loudness), FAD over YAMNet's embeddings against real training clips, and CPU seconds per clip. `gain` has no network in
it: the clip is multiplied by what gives it the curve, so that real clips tell what following a curve alone costs.

What is measured is kept in OUTPUT_DIR, one file per row and curve, so the same command goes on where it stopped; other
captions need another folder. Captions: data/class_prompts.csv, classes in turn.
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
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from benchmarks.judging import JUDGES, Judges, turned
from soundctm.command import exit_code
from soundctm.control import SHAPES, Control, Objective, intensity, shape
from soundctm.data.corpus import DATA_FOLDER
from soundctm.errors import UserError
from soundctm.evaluation.models.classes import NAMES
from soundctm.files import whole_file, write_whole
from soundctm.pipeline import SoundCTMPipeline
from soundctm.seeds import clip_seeds

log = logging.getLogger(__name__)

SEED, REAL_PER_CLASS = 3, 5
# "to a fifth": left alone at an error, by the mel, at which the waveforms' mean is a fifth of the uncontrolled clips'
ROWS: dict[str, tuple[int, str | None, dict[str, Any]]] = {  # name: steps (0: real clips), method, options of Control
    "real clips": (0, None, {}),
    "real clips, gain": (0, "gain", {}),
    "none, 1 step": (1, None, {}),
    "none, 4 steps": (4, None, {}),
    "gain, 4 steps": (4, "gain", {}),
    "nearest of 16, 1 step": (1, "noise", {"candidates": 16, "iterations": 0}),
    "nearest of 16, 4 steps": (4, "noise", {"candidates": 16, "iterations": 0}),
    "mean, 4 steps": (4, "mean", {"candidates": 1}),
    "mean from the nearest of 32, to 170 dB^2, 4 steps": (4, "mean", {"candidates": 32, "threshold": 170.0}),
    "noise from the nearest of 8, to 180 dB^2, 1 step": (
        1,
        "noise",
        {"candidates": 8, "threshold": 180.0, "iterations": 30},
    ),
    "mean from the nearest of 16, to a fifth, 4 steps": (4, "mean", {"candidates": 16, "threshold": 145.0}),
    "network, 4 steps": (4, "network", {"candidates": 1}),
    "network from the nearest of 16, to a fifth, 4 steps": (4, "network", {"candidates": 16, "threshold": 145.0}),
    "noise, 1 step": (1, "noise", {"candidates": 1}),
    "noise from the nearest of 16, to a fifth, 1 step": (
        1,
        "noise",
        {"candidates": 16, "threshold": 100.0, "iterations": 30},
    ),
    "noise from the nearest of 16, decoded with 4 steps": (
        4,
        "noise",
        {"candidates": 16, "threshold": 100.0, "iterations": 30},
    ),
}


def prompts(count: int) -> list[dict[str, str]]:
    """`count` rows of the class prompts, classes in turn."""
    with (DATA_FOLDER / "class_prompts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_class = [[row for row in rows if row["label"] == name] for name in NAMES]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*by_class))
    return [row for row in turns if row is not None][:count]


class Bench:
    """Makes and measures the clips of one row and one curve; what comes from no curve is made once."""

    def __init__(self, args: argparse.Namespace, judges: Judges) -> None:
        self.args, self.judges, self.free, self.heard = args, judges, {}, {}
        self.pipe = SoundCTMPipeline.from_pretrained(args.checkpoint, device=args.device)
        self.seconds = self.pipe.defaults.seconds or self.pipe.codec.default_seconds
        rows = prompts(args.captions)
        self.captions, self.labels = [row["caption"] for row in rows], [row["label"] for row in rows]

    def made(self, steps: int, control: Control | None = None) -> torch.Tensor:
        """Waveforms [captions, n]."""
        seeds = clip_seeds(SEED, self.captions)
        clips = self.pipe(self.captions, steps, seed=seeds, batch_size=self.args.batch_size, control=control)
        return torch.from_numpy(clips.audios)

    def unled(self, steps: int) -> torch.Tensor:
        """Clips without control, or real ones."""
        if steps not in self.free:
            self.free[steps] = self.made(steps) if steps else self.judges.clips(REAL_PER_CLASS, known=False)[0]
        return self.free[steps]

    def part(self, name: str, curve: str) -> dict[str, torch.Tensor]:
        """Errors [clips], features [clips, D] and seconds per clip."""
        steps, method, options = ROWS[name]
        objective, begun = Objective(intensity, shape(curve, self.seconds)), time.process_time()
        rate = self.pipe.codec.sampling_rate
        if method in (None, "gain"):
            clips = self.unled(steps)
            if method == "gain":
                frames = len(intensity_of(clips[:1], rate)[0])
                clips = turned(clips, rate, objective.values(frames)[None].to(clips))
        else:
            clips = self.made(steps, Control(objective, method, **options))
        took = (time.process_time() - begun) / len(clips)
        if method is None and steps not in self.heard:
            self.heard[steps] = self.judges.features(clips)
        features = self.heard[steps] if method is None else self.judges.features(clips)
        errors = objective.error_of_waveform(clips, rate)
        return {"errors": errors, "features": features, "seconds": torch.tensor(took)}


def intensity_of(waveforms: torch.Tensor, rate: int) -> torch.Tensor:
    """The measure itself, [B, frames]."""
    from soundctm.control import Sound

    return intensity(Sound.of_waveform(waveforms, rate))


def summary(parts: Sequence[dict[str, torch.Tensor]], labels: Sequence[str], judges: Judges) -> dict[str, float]:
    """One row of the table, over the curves that are there."""
    features = torch.cat([part["features"] for part in parts])
    row = {judge: judges.accuracy(judge, features, list(labels) * len(parts)) for judge in JUDGES}
    row["error"] = float(torch.cat([part["errors"] for part in parts]).mean())
    return row | {"fad": judges.fad(features), "seconds": max(float(part["seconds"]) for part in parts)}


def table(results: dict[str, dict[str, float]]) -> str:
    """The results in markdown."""
    lines = [
        "| method | error, dB² | class accuracy | by the judge of levels | FAD-YAMNet | CPU s per clip |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        cost = "" if name.startswith("real") else f"{row['seconds']:.2f}"
        lines.append(
            f"| {name} | {row['error']:.0f} | {row['plain']:.3f} | {row['levels']:.3f} | {row['fad']:.0f} | {cost} |"
        )
    return "\n".join(lines)


def run(args: argparse.Namespace) -> None:
    """Measure what is not there yet and print the table."""
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path, asked = folder / "asked.json", {name: getattr(args, name) for name in ("checkpoint", "captions")}
    if path.is_file() and (stored := json.loads(path.read_text(encoding="utf-8"))) != asked:
        raise UserError(f"{folder} holds the results of {stored}; give another --output_dir")
    write_whole(path, json.dumps(asked) + "\n")
    judges = Judges(Path(args.corpus), folder / "judges.safetensors")
    bench = Bench(args, judges)
    results, real = {}, judges.clips(REAL_PER_CLASS, known=False)[1]
    for name in args.rows or ROWS:
        parts = []
        for curve in args.curves:
            place = folder / f"{name}, {curve}.safetensors"
            if not place.is_file():
                with whole_file(place) as file:
                    save_file(bench.part(name, curve), file)
            parts.append(load_file(place))
        results[name] = summary(parts, bench.labels if ROWS[name][0] else real, judges)
        log.info("%s: %s", name, {key: round(value, 3) for key, value in results[name].items()})
    print(table(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 for wrong use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="ckpt/mini")
    parser.add_argument("--corpus", default="data/corpus", help="a built corpus folder")
    parser.add_argument("--output_dir", default="outputs/control")
    parser.add_argument("--captions", type=int, default=100)
    parser.add_argument("--curves", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), help="of the table; default: all")
    parser.add_argument("--batch_size", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
