"""A sweep from its options to its files: generate every setting, evaluate every folder, write the results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soundctm.data.corpus import load_corpus
from soundctm.errors import UserError
from soundctm.evaluation.folders.clips import clip_name, list_clips
from soundctm.evaluation.folders.evaluate import evaluate
from soundctm.evaluation.folders.metrics import METRICS
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.evaluation.folders.pairing import pair_by_name
from soundctm.evaluation.folders.report import Report
from soundctm.evaluation.models import class_accuracy
from soundctm.evaluation.models.generation import ClipMaker, Generated
from soundctm.evaluation.models.sweep.options import SweepOptions, base, plan, teacher_base
from soundctm.evaluation.models.sweep.plot import quality_plot
from soundctm.evaluation.models.sweep.results import Measured, csv_text, markdown
from soundctm.files import write_whole
from soundctm.inference.model import checkpoint_name

log = logging.getLogger(__name__)

TABLE, READABLE, PLOT = "sweep.csv", "sweep.md", "quality_against_time.png"


@dataclass(frozen=True)
class Accuracies:
    """Class accuracy and the share heard by YAMNet: of each folder of clips, and of real test clips."""

    generated: Mapping[Path, Mapping[str, float]]
    real: Mapping[str, float]


def sweep(options: SweepOptions) -> list[Measured]:
    """Generate what is missing, evaluate all settings and write the results. Raises UserError."""
    maker = ClipMaker(options.inference(), Path(options.output_dir))
    metrics = _usable_metrics(options, maker)
    _rehearse(options, metrics)
    made = _generate(options, maker)
    reports = [_evaluate(options, metrics, folder) for folder in made]
    accuracies = _accuracies(options, made)
    results = [
        Measured(one, {r.metric: r.score for r in report.results}, accuracies.generated.get(one.folder, {}))
        for one, report in zip(made, reports, strict=True)
    ]

    output = Path(options.output_dir)
    real = {r.metric: r.real for r in reports[0].results if r.real is not None}
    shown = reports[0].results[0].metric
    plot = quality_plot(results, shown, base(options), teacher_base(options), real.get(shown))
    write_whole(output / TABLE, csv_text(results))
    write_whole(output / PLOT, plot)
    write_whole(output / READABLE, markdown(results, _remarks(options, maker, made, reports[0]), real, accuracies.real))
    log.info("%d settings: %s, %s and %s in %s", len(results), READABLE, TABLE, PLOT, output)
    return results


def _usable_metrics(options: SweepOptions, maker: ClipMaker) -> tuple[str, ...]:
    """The metrics asked for, without those that pair clips by name where no name of a caption is a reference's."""
    reference = [clip_name(path, options.reference_dir) for path in list_clips(options.reference_dir)]
    if pair_by_name(reference, [f"{clip.name}.wav" for clip in maker.clips]).pairs:
        return options.metrics
    left_out = [name for name in options.metrics if METRICS[name].needs_pairs and METRICS[name].needs_reference]
    if left_out:
        log.info("no caption's file_name is a reference clip's, so there is no %s", ", ".join(left_out))
    usable = tuple(name for name in options.metrics if name not in left_out)
    if not usable:
        raise UserError("no metric is left; add fad, which needs no pairs")
    return usable


def _rehearse(options: SweepOptions, metrics: tuple[str, ...]) -> None:
    """Evaluate the reference clips against themselves: what is wrong or absent shows now, not after hours of
    generating, and their features are in the cache afterwards. Raises UserError."""
    if options.corpus is not None:
        load_corpus(options.corpus)
    tried = tuple(name for name in metrics if METRICS[name].needs_reference or not METRICS[name].needs_pairs)
    if tried:  # not those that pair generated clips with captions
        evaluate(_evaluation(options, tried, options.reference_dir))


def _generate(options: SweepOptions, maker: ClipMaker) -> list[Generated]:
    settings = plan(options)
    if any(setting.is_teacher for setting in settings) and not maker.has_weights("teacher"):
        log.info("%s holds no teacher; the sweep does without it", checkpoint_name(maker.options))
        settings = [setting for setting in settings if not setting.is_teacher]
    made = []
    for number, setting in enumerate(settings, 1):
        log.info("setting %d of %d: %s", number, len(settings), setting.name)
        made.append(maker.make(setting))
    return made


def _evaluation(options: SweepOptions, metrics: tuple[str, ...], folder: str | Path) -> EvaluationOptions:
    return EvaluationOptions(
        generated_dir=str(folder),
        reference_dir=options.reference_dir,
        captions=options.captions if "clap" in metrics else None,
        metrics=metrics,
        extractors=(options.extractor,),
        device=options.device,
    )


def _evaluate(options: SweepOptions, metrics: tuple[str, ...], made: Generated) -> Report:
    """The report of one folder, written beside it, too. Features come from the cache where the clips are old."""
    given = _evaluation(options, metrics, made.folder)
    report = evaluate(given)
    report.save(given.report_path)
    return report


def _accuracies(options: SweepOptions, made: Sequence[Generated]) -> Accuracies:
    """One classifier judges all folders; without a corpus there is none."""
    if options.corpus is None:
        return Accuracies({}, {})
    log.info("class accuracy of %d settings", len(made))
    prompts, folders = Path(options.prompts or options.captions), [one.folder for one in made]
    found = class_accuracy.evaluate(Path(options.corpus), folders, prompts, cross_validation=False)

    def numbers(name: str) -> dict[str, float]:
        return {"class accuracy": found[name]["accuracy"], "heard": found[name]["heard"]} if name in found else {}

    return Accuracies({folder: numbers(f"generated {folder}") for folder in folders}, numbers("real_test"))


def _remarks(options: SweepOptions, maker: ClipMaker, made: Sequence[Generated], report: Report) -> list[str]:
    """What the table does not say: what was compared, how times were measured, what limits the numbers."""
    clips = f"{len(maker.clips)} clips per setting, captions of {options.captions}, seed {options.seed}"
    machines = "; ".join(sorted({one.machine for one in made}))
    weights = {result.extractor: result.weights_hash[:12] for result in report.results}
    return [
        f"checkpoint {checkpoint_name(maker.options)}; {clips}",
        f"features of {', '.join(f'{name} (weights {digest})' for name, digest in weights.items())}",
        "calls: network calls per clip, a call with and one without text counted as two",
        f"s per clip: median over the clips, generation alone, after a warm-up; {machines}",
        "in brackets: 95 % intervals over clips",
        *(f"first setting, {note}" for note in report.notes()),
    ]
