"""What a sweep finds out about a setting, and its results as CSV and as a table to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from soundctm.evaluation.models.generation import Generated
from soundctm.evaluation.statistics.result import Score

SETTING_COLUMNS = ("setting", "weights", "sampler", "steps", "omega", "nu", "gamma", "network_calls")


@dataclass(frozen=True)
class Measured:
    """The clips of one setting and their scores by metric, as in the report; `accuracies` are shares, by their name."""

    generated: Generated
    scores: Mapping[str, Score]
    accuracies: Mapping[str, float] = field(default_factory=dict)

    def settings(self) -> list[str]:
        """The values of SETTING_COLUMNS; empty where a setting has no effect."""
        s = self.generated.setting
        nu, gamma = "" if s.is_teacher else f"{s.nu:g}", f"{s.gamma:g}" if s.sampler == "gamma_multistep" else ""
        return [s.name, s.weights, s.sampler, str(s.steps), f"{s.omega:g}", nu, gamma, str(s.network_calls)]


def csv_text(results: Sequence[Measured]) -> str:
    """One line per setting; every score has its interval in two more columns, NAME_low and NAME_high."""
    metrics, accuracies = _names(r.scores for r in results), _names(r.accuracies for r in results)
    intervals = [column for name in metrics for column in (name, f"{name}_low", f"{name}_high")]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*SETTING_COLUMNS, "seconds_per_clip", "machine", *intervals, *accuracies])
    for result in results:
        scores = [result.scores.get(name) for name in metrics]
        values = [
            number for score in scores for number in ((score.value, score.low, score.high) if score else [None] * 3)
        ]
        values += [result.accuracies.get(name) for name in accuracies]
        made = result.generated
        writer.writerow([*result.settings(), f"{made.seconds_per_clip:.4g}", made.machine, *map(_exact, values)])
    return buffer.getvalue()


def markdown(
    results: Sequence[Measured], remarks: Sequence[str], real: Mapping[str, Score], real_accuracies: Mapping[str, float]
) -> str:
    """A table for people: one line per setting, above them one for real clips (the noise floor), then the remarks.

    `real` holds the scores of two disjoint halves of the reference clips, by metric.
    """
    metrics, accuracies = _names(r.scores for r in results), _names(r.accuracies for r in results)
    header = ["weights", "sampler", "steps", "omega", "nu", "calls", "s per clip", *metrics, *accuracies]
    floor = ["real clips", "", "", "", "", "", "", *(_interval(real.get(name)) for name in metrics)]
    floor += [_share(real_accuracies.get(name)) for name in accuracies]
    rows = [floor]
    for result in results:
        _, weights, sampler, steps, omega, nu, gamma, calls = result.settings()
        sampler += f" {gamma}" if gamma else ""
        row = [weights, sampler, steps, omega, nu, calls, f"{result.generated.seconds_per_clip:.3g}"]
        row += [_interval(result.scores.get(name)) for name in metrics]
        rows.append(row + [_share(result.accuracies.get(name)) for name in accuracies])
    lines = ["# Quality against time", "", _line(header), _line(["---"] * len(header)), *map(_line, rows), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in remarks)]) + "\n"


def _names(mappings) -> list[str]:
    """All keys in the order of their first appearance."""
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _interval(score: Score | None) -> str:
    if score is None:
        return ""
    known = score.low is not None and score.high is not None
    return f"{score.value:.3g}" + (f" ({score.low:.3g} to {score.high:.3g})" if known else "")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:z.3f}"


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
