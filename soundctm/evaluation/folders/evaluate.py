"""Two folders of clips to a report.

report = evaluate(EvaluationOptions(reference_dir="real", generated_dir="made", metrics=("fad", "kl")))
report["FAD-YAMNet"].value
print(report.table())
"""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from soundctm.data.names import shown
from soundctm.devices import usable_device
from soundctm.errors import UserError
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.folders.clips import clip_name, list_clips
from soundctm.evaluation.folders.features import FolderFeatures, LazyExtractor, folder_features
from soundctm.evaluation.folders.metrics import METRICS, Comparison, real_score
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.evaluation.folders.pairing import pair_by_name
from soundctm.evaluation.folders.presets import PRESETS
from soundctm.evaluation.folders.report import Report, Result
from soundctm.evaluation.statistics.result import Score
from soundctm.inference.clips import plan_clips
from soundctm.inference.prompts import Prompt, read_prompts

log = logging.getLogger(__name__)

Planned = tuple[str, str]  # metric, extractor


def evaluate(options: EvaluationOptions) -> Report:
    """All metrics that `options` ask for and that can be had; the report says which cannot, and why.

    What can be known from options and names is checked before any sound is read. Raises UserError for what is wrong
    with options, folders or files, and when no metric is left.
    """
    began, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    device = usable_device(options.device)
    weights = registry.parse_weights(options.weights)
    if options.clap_model_path is not None:
        weights["clap630k"] = options.clap_model_path
    left_out: dict[str, str] = {}
    planned = _with_partners(_planned(options), options, left_out)
    extractors = {name: LazyExtractor(name, registry.weights_of(name, weights), device) for _, name in planned}
    captions = _captions(options.captions) if options.captions else []

    reference = generated = None
    if planned:
        settings = {name: getattr(options, name) for name in ("batch_size", "num_workers", "recalculate")}
        generated = folder_features(options.generated_dir, list(extractors.values()), **settings)
        if options.reference_dir is not None:
            reference = folder_features(options.reference_dir, list(extractors.values()), **settings)
    results = []
    for metric, name in planned:
        try:
            results.append(_compared(metric, extractors[name], generated, reference, captions, options.seed))
        except UserError as error:  # too few clips for this statistic, for example; the others may do with them
            _leave_out(f"{METRICS[metric].title}, {name}", str(error), left_out)
    if "class_accuracy" in options.chosen:
        results.append(_class_accuracy(options))
    if not results:
        raise UserError("; ".join(dict.fromkeys(left_out.values())))
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
        left_out,
    )


def _planned(options: EvaluationOptions) -> list[Planned]:
    """In the order of the metrics. The CLAP score takes those of the extractors that embed captions, or `clap`."""
    if options.preset is not None:
        return list(PRESETS[options.preset])
    planned = []
    for metric in options.metrics:
        if metric == "class_accuracy":
            continue
        chosen = _with_texts(options.extractors) if metric == "clap" else options.extractors
        entries = [registry.entry(name) for name in chosen]
        usable = [entry.name for entry in entries if entry.classes or not METRICS[metric].needs_classes]
        if not usable:
            others = ", ".join(entry.name for entry in registry.available() if entry.classes)
            raise UserError(
                f"{metric} needs classes, which {', '.join(chosen)} do not give; --extractors can be {others}"
            )
        planned += [(metric, name) for name in usable]
    return planned


def _with_texts(extractors: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in extractors if registry.entry(name).texts) or ("clap",)


def _with_partners(planned: list[Planned], options: EvaluationOptions, left_out: dict[str, str]) -> list[Planned]:
    """`planned` without the metrics that compare clips by name where no name has a partner. Reads names alone."""
    paired = [metric for metric, _ in planned if METRICS[metric].needs_pairs]
    if not paired:
        return planned
    generated = _names(options.generated_dir)
    for metric in dict.fromkeys(paired):
        if metric == "clap":
            first, what = _planned_names(_captions(options.captions)), "captions"
        else:
            first, what = _names(options.reference_dir), "reference clips"
        if not pair_by_name(first, generated, what).pairs:
            reason = (
                f"{metric} compares clips of one name, and no name of the generated clips ({shown(generated[0])}, ...) "
                f"is among the {what} ({shown(first[0])}, ...)"
            )
            _leave_out(METRICS[metric].title, reason, left_out)
            planned = [(other, name) for other, name in planned if other != metric]
    if not planned and "class_accuracy" not in options.chosen:
        raise UserError("; ".join(dict.fromkeys(left_out.values())))
    return planned


def _leave_out(metric: str, reason: str, left_out: dict[str, str]) -> None:
    left_out[metric] = reason
    log.warning("no %s: %s", metric, reason)


def _names(folder: str) -> list[str]:
    return [clip_name(path, folder) for path in list_clips(folder)]


def _compared(
    metric: str,
    extractor: LazyExtractor,
    generated: FolderFeatures,
    reference: FolderFeatures | None,
    captions: Sequence[Prompt],
    seed: int,
) -> Result:
    """The result of one metric with what it pairs the generated clips with, if it does."""
    comparison = Comparison(extractor.name, generated, reference, seed=seed)
    if not METRICS[metric].needs_pairs:
        return _result(metric, extractor, comparison)
    if metric != "clap":
        pairing = pair_by_name(reference.names, generated.names, "reference clips")
        return _result(metric, extractor, replace(comparison, pairing=pairing))
    pairing = pair_by_name(_planned_names(captions), generated.names, "captions")
    embedded = extractor.loaded.embed_texts([prompt.caption for prompt in captions])
    return _result(metric, extractor, replace(comparison, pairing=pairing, captions=embedded))


def _result(name: str, extractor: LazyExtractor, comparison: Comparison) -> Result:
    metric = METRICS[name]
    real, real_is = real_score(metric, comparison)
    return Result(
        metric=title(name, extractor),
        score=metric.score(comparison),
        lower_is_better=metric.lower_is_better,
        extractor=extractor.name,
        weights_hash=extractor.weights_hash,
        real=real,
        real_is=real_is,
        pairing=comparison.pairing,
    )


def title(metric: str, extractor: LazyExtractor) -> str:
    """The name of a number, which no other number has: FAD-YAMNet, KL-PaSST; CLAP score, CLAP score-630k."""
    if metric != "clap":
        return f"{METRICS[metric].title}-{extractor.title}"
    return METRICS[metric].title + extractor.title.removeprefix("CLAP") if extractor.name != "clap" else "CLAP score"


def _planned_names(captions: Sequence[Prompt]) -> list[str]:
    """The names that inference gives the clips of `captions`: further captions of one file have names of their own."""
    return [f"{clip.name}.wav" for clip in plan_clips(captions, 0, 1)]


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
