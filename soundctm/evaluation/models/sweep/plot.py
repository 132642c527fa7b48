"""The picture of a sweep: a distance to real clips against the time that a clip takes."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, LogFormatter

from soundctm.evaluation.models.generation import Setting
from soundctm.evaluation.models.sweep.results import Measured
from soundctm.evaluation.statistics.result import Score
from soundctm.inference.spectrogram import new_figure, png_bytes

MARKERS = "osD^v"


def lines(results: Sequence[Measured], base: Setting, teacher_base: Setting | None) -> dict[str, list[Measured]]:
    """The results on each line of the plot, by increasing steps: one line per sampler and one for the teacher.

    A line holds the guidance of its base; the single jump, which is the same for all samplers, begins each of them.
    """
    students = [r for r in results if not r.generated.setting.is_teacher]
    alike = [r for r in students if (r.generated.setting.omega, r.generated.setting.nu) == (base.omega, base.nu)]
    samplers = list(dict.fromkeys(r.generated.setting.sampler for r in alike if _steps(r) > 1)) or [base.sampler]
    found = {
        f"student, {sampler}": [r for r in alike if r.generated.setting.sampler == sampler or _steps(r) == 1]
        for sampler in samplers
    }
    teachers = [r for r in results if r.generated.setting.is_teacher]
    if teacher_base is not None and teachers:
        found["teacher, Heun"] = [r for r in teachers if r.generated.setting.omega == teacher_base.omega]
    return {name: sorted(members, key=_steps) for name, members in found.items() if members}


def quality_plot(
    results: Sequence[Measured], metric: str, base: Setting, teacher_base: Setting | None, floor: Score | None
) -> bytes:
    """A PNG: `metric` with its intervals over seconds per clip (logarithmic), steps written beside the points.

    Settings with other guidance than the base are faint points; a dashed line marks `floor`, the distance of two halves
    of the real clips.
    """
    figure = new_figure(8.0, 5.0, layout="constrained")
    axes = figure.subplots()
    drawn = lines(results, base, teacher_base)
    for number, (name, members) in enumerate(drawn.items()):
        teacher = members[0].generated.setting.is_teacher
        style = {"color": "black", "marker": "*", "markersize": 12} if teacher else {"marker": MARKERS[number]}
        x, y = [r.generated.seconds_per_clip for r in members], [r.scores[metric].value for r in members]
        axes.errorbar(x, y, yerr=_errors(members, metric), capsize=3, linewidth=1.5, label=name, **style)
    on_lines = {id(r): r for members in drawn.values() for r in members}
    for r in on_lines.values():
        place = r.generated.seconds_per_clip, r.scores[metric].value
        axes.annotate(str(_steps(r)), place, textcoords="offset points", xytext=(5, 5), fontsize=8)
    others = [r for r in results if id(r) not in on_lines]
    if others:
        x, y = [r.generated.seconds_per_clip for r in others], [r.scores[metric].value for r in others]
        axes.scatter(x, y, s=18, color="grey", alpha=0.6, label="other guidance")
    if floor is not None:
        axes.axhline(floor.value, color="grey", linestyle="--", label="two halves of the real clips")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.xaxis.set_minor_formatter(LogFormatter())
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds per clip")
    axes.set_ylabel(metric)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8)
    return png_bytes(figure)


def _steps(result: Measured) -> int:
    return result.generated.setting.steps


def _errors(members: Sequence[Measured], metric: str) -> list[list[float]]:
    """[below, above] each value, 0 where no interval is known."""
    scores = [r.scores[metric] for r in members]
    below = [max(0.0, s.value - s.low) if s.low is not None else 0.0 for s in scores]
    above = [max(0.0, s.high - s.value) if s.high is not None else 0.0 for s in scores]
    return [below, above]
