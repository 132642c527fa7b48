"""Two folders of clips to a report.

report = evaluate(EvaluationOptions(reference_dir="real", generated_dir="made", metrics=("fad", "kl")))
report["FAD-YAMNet"].value
print(report.table())
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from soundctm.devices import usable_device
from soundctm.errors import UserError
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.folders.features import LazyExtractor, folder_features
from soundctm.evaluation.folders.metrics import METRICS, Comparison, real_score
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.evaluation.folders.pairing import Pairing, pair_by_name
from soundctm.evaluation.folders.report import Report, Result
from soundctm.evaluation.statistics.result import Score
from soundctm.inference.prompts import Prompt, read_prompts


def evaluate(options: EvaluationOptions) -> Report:
    """All metrics that `options` ask for. Raises UserError for what is wrong with them, their folders or files."""
    began, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    device = usable_device(options.device)
    weights = registry.parse_weights(options.weights)
    planned = _planned(options)
    extractors = {name: LazyExtractor(name, weights.get(name), device) for _, name in planned}
    captions = _captions(options.captions) if options.captions else []

    reference = generated = None
    if planned:
        settings = {name: getattr(options, name) for name in ("batch_size", "num_workers", "recalculate")}
        generated = folder_features(options.generated_dir, list(extractors.values()), **settings)
        if options.reference_dir is not None:
            reference = folder_features(options.reference_dir, list(extractors.values()), **settings)
    results = []
    for metric, name in planned:
        comparison = Comparison(name, generated, reference, seed=options.seed)
        results.append(_result(metric, extractors[name], _with_pairs(metric, extractors[name], comparison, captions)))
    if "class_accuracy" in options.metrics:
        results.append(_class_accuracy(options))
    return Report(
        tuple(results),
        options.generated_dir,
        options.reference_dir,
        generated,
        reference,
        options.seed,
        device,
        began.isoformat(timespec="seconds"),
        time.perf_counter() - clock,
    )


def _planned(options: EvaluationOptions) -> list[tuple[str, str]]:
    """(metric, extractor), in the order of the metrics; the CLAP score has an extractor of its own."""
    planned = []
    for metric in options.metrics:
        if metric == "class_accuracy":
            continue
        chosen = ("clap",) if metric == "clap" else options.extractors
        entries = [registry.entry(name) for name in chosen]
        usable = [entry.name for entry in entries if entry.classes or not METRICS[metric].needs_classes]
        if not usable:
            others = ", ".join(entry.name for entry in registry.available() if entry.classes)
            raise UserError(
                f"{metric} needs classes, which {', '.join(chosen)} do not give; --extractors can be {others}"
            )
        planned += [(metric, name) for name in usable]
    return planned


def _with_pairs(
    metric: str, extractor: LazyExtractor, comparison: Comparison, captions: Sequence[Prompt]
) -> Comparison:
    """The comparison with what `metric` pairs the generated clips with, if it does. Raises UserError for no pair."""
    if not METRICS[metric].needs_pairs:
        return comparison
    names = comparison.generated.names
    if metric != "clap":
        return replace(comparison, pairing=_paired(metric, comparison.reference.names, names, "reference clips"))
    pairing = _paired(metric, [prompt.file_name for prompt in captions], names, "captions")
    return replace(comparison, pairing=pairing, captions=extractor.loaded.embed_texts([p.caption for p in captions]))


def _result(name: str, extractor: LazyExtractor, comparison: Comparison) -> Result:
    metric = METRICS[name]
    real, real_is = real_score(metric, comparison)
    return Result(
        metric=metric.title if name == "clap" else f"{metric.title}-{extractor.title}",
        score=metric.score(comparison),
        lower_is_better=metric.lower_is_better,
        extractor=extractor.name,
        weights_hash=extractor.weights_hash,
        real=real,
        real_is=real_is,
        pairing=comparison.pairing,
    )


def _paired(metric: str, first: Sequence[str], generated: Sequence[str], what: str) -> Pairing:
    pairing = pair_by_name(first, generated, what)
    if not pairing.pairs:
        raise UserError(
            f"{metric} compares clips of one name, and no name of the generated clips ({generated[0]}, ...) "
            f"is among the {what} ({first[0]}, ...)"
        )
    return pairing


def _captions(path: str) -> list[Prompt]:
    prompts = read_prompts(path)
    if any(prompt.file_name is None for prompt in prompts):
        raise UserError(f"{path} needs a column file_name beside caption, with a value in every row")
    return prompts


def _class_accuracy(options: EvaluationOptions) -> Result:
    from soundctm.evaluation.models import class_accuracy

    folder = Path(options.generated_dir)
    prompts = None if options.prompts is None else Path(options.prompts)
    found = class_accuracy.evaluate(Path(options.corpus), [folder], prompts, not options.quick)
    part = found[f"generated {folder}"]
    kind = next((name for name in ("real_cross_validation", "real_test") if name in found), None)
    real = None if kind is None else _accuracy_score(found[kind])
    real_is = {"real_cross_validation": "all corpus clips, cross-validated", "real_test": "test clips of the corpus"}
    score = _accuracy_score(part, corpus=options.corpus)
    return Result("class accuracy", score, False, "yamnet", found["yamnet"], real, real_is.get(kind, ""))


def _accuracy_score(part: Mapping, **details: str) -> Score:
    details |= {"heard": part["heard"], "classes": part["classes"]}
    details |= {f"accuracy of {name}": value for name, value in part["per_class"].items()}
    return Score(part["accuracy"], n_generated=part["clips"], details=details)
