"""What an evaluation found: as JSON lines, one per metric and each complete in itself, and as a table for people."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import soundctm
from soundctm.data.names import shown
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.extractors.reading import CHANNELS
from soundctm.evaluation.folders.cache import code_version, library_versions
from soundctm.evaluation.folders.features import FolderFeatures, listed
from soundctm.evaluation.folders.metrics import LEVEL
from soundctm.evaluation.folders.pairing import Pairing
from soundctm.evaluation.statistics.result import Score
from soundctm.files import write_whole

NAMED = 20  # of the names that found no partner, in a report


@dataclass(frozen=True)
class Result:
    """One metric: `metric` is its name with the extractor's, `real` what real clips score and `real_is` of what."""

    metric: str
    score: Score
    lower_is_better: bool
    extractor: str
    weights_hash: str
    real: Score | None = None
    real_is: str = ""
    pairing: Pairing | None = None

    @property
    def value(self) -> float:
        return self.score.value


@dataclass(frozen=True)
class Report:
    """All results of one run; the folders' features are None where no metric needed them."""

    results: tuple[Result, ...]
    generated_dir: str
    reference_dir: str | None
    generated: FolderFeatures | None
    reference: FolderFeatures | None
    seed: int
    device: str
    time: str  # ISO 8601, when the run began
    seconds: float  # that it took
    left_out: Mapping[str, str] = field(default_factory=dict)  # why, by metric

    def __getitem__(self, metric: str) -> Result:
        """The result of a name as in the table: `report["FAD-YAMNet"].value`."""
        for result in self.results:
            if result.metric == metric:
                return result
        raise KeyError(f"no metric {metric}; there are {', '.join(result.metric for result in self.results)}")

    def lines(self) -> list[dict[str, Any]]:
        """One dictionary per metric, fit for JSON."""
        common = {
            "reference_dir": None if self.reference_dir is None else shown(self.reference_dir),
            "generated_dir": shown(self.generated_dir),
            "reference_clips": _described(self.reference),
            "generated_clips": _described(self.generated),
            "seed": self.seed,
            "left_out": dict(self.left_out),
            "device": self.device,
            "time": self.time,
            "seconds": round(self.seconds, 3),
            "versions": {"soundctm": soundctm.__version__, "libraries": library_versions(), "code": code_version()},
        }
        return [_line(result) | common for result in self.results]

    def save(self, path: str | os.PathLike) -> None:
        """Write the JSON lines, all or none."""
        write_whole(path, shown("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in self.lines())))

    def table(self) -> str:
        """For people: a line per metric, then what they must know to read it."""
        rows = [("metric", "value", f"{LEVEL:.0%} interval", "real clips", "clips", "better")]
        for result in self.results:
            score = result.score
            interval = "" if score.low is None else f"{score.low:z.3f} .. {score.high:z.3f}"
            real = "" if result.real is None else f"{result.real.value:z.3f}"
            clips = f"{score.n_generated} / {score.n_reference}" if score.n_reference else f"{score.n_generated}"
            better = "lower" if result.lower_is_better else "higher"
            rows.append((result.metric, f"{score.value:z.3f}", interval, real, clips, better))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return shown("\n".join([*lines, *self.notes()]))

    def notes(self) -> list[str]:
        """What limits the numbers: which clips, what "real clips" stands for, pairs, few clips."""
        notes = [f"no {metric}: {reason}" for metric, reason in self.left_out.items()]
        notes += [
            f"{result.metric}, real clips: {result.real_is}" for result in self.results if result.real is not None
        ]
        for name, features in (("reference", self.reference), ("generated", self.generated)):
            if features is not None:
                notes += [_clips_note(name, features), *_odd_notes(name, features)]
        for result in self.results:
            if result.pairing is not None:
                notes.append(_pairing_note(result))
            if result.score.details.get("singular"):
                rows = min(result.score.details["reference_rows"], result.score.details["generated_rows"])
                notes.append(
                    f"{result.metric}: {rows} embeddings are no more than their {result.score.details['dimension']} "
                    "dimensions, so covariances are singular; compare only with sets of as many clips"
                )
        return notes


def _line(result: Result) -> dict[str, Any]:
    score, real, entry = result.score, result.real, registry.entry(result.extractor)
    line: dict[str, Any] = {
        "metric": result.metric,
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "level": None if score.low is None else LEVEL,
        "better": "lower" if result.lower_is_better else "higher",
        "n_reference": score.n_reference,
        "n_generated": score.n_generated,
        "details": score.details,
        "real": None if real is None else {"value": real.value, "of": result.real_is, "details": real.details},
        "extractor": result.extractor,
        "weights_sha256": result.weights_hash,
        "sampling_rate": entry.reading.sampling_rate,
        "channel": CHANNELS[entry.reading.channels],
        "resampler": entry.reading.resampler,
        "level_of_clips": entry.reading.level,
        "windows": entry.windows,
        "pairing": None,
    }
    if result.pairing is not None:
        first, generated = result.pairing.unmatched_first, result.pairing.unmatched_generated
        line["pairing"] = {
            "by": "file name without ending",
            "pairs": len(result.pairing.pairs),
            "unmatched_first": len(first),
            "unmatched_generated": len(generated),
            "unmatched_names": [*first[:NAMED], *generated[:NAMED]],
        }
    return line


def _described(features: FolderFeatures | None) -> dict[str, Any] | None:
    if features is None:
        return None
    return {
        "clips": len(features.names),
        "seconds": round(sum(features.seconds), 3),
        "median_seconds": round(statistics.median(features.seconds), 3),
        "silent": list(features.silent),
        "beyond_full_scale": list(features.beyond),
        "same_content": [list(names) for names in features.same],
        "unreadable": [{"file": clip.name, "reason": clip.reason} for clip in features.unreadable],
    }


def _clips_note(name: str, features: FolderFeatures) -> str:
    note = f"{name}: {len(features.names)} clips, median {statistics.median(features.seconds):.2f} s, {features.folder}"
    left_out = [f"{len(features.unreadable)} unreadable left out"] if features.unreadable else []
    return "; ".join([note, *left_out, *([f"{len(features.silent)} silent"] if features.silent else [])])


def _odd_notes(name: str, features: FolderFeatures) -> list[str]:
    """What is suspicious about the clips and makes their scores mean little."""
    notes = []
    if features.beyond:
        notes.append(
            f"{name}: {len(features.beyond)} clips are far beyond full scale, not scaled to [-1, 1] "
            f"({listed(features.beyond)})"
        )
    notes += [f"{name}: {len(names)} clips have the same content ({listed(names)})" for names in features.same]
    return notes


def _pairing_note(result: Result) -> str:
    pairing = result.pairing
    note = f"{result.metric}: {len(pairing.pairs)} pairs by name"
    for names, side in ((pairing.unmatched_first, "real"), (pairing.unmatched_generated, "generated")):
        if names:
            note += f"; {len(names)} {side} without partner ({listed(names)})"
    return note
