"""Two folders of clips to a report.

report = evaluate(EvaluationOptions(reference_dir="real", generated_dir="made", metrics=("fad", "kl")))
report["FAD-YAMNet"].value
print(report.table())
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from pathlib import Path

from soundctm.devices import usable_device
from soundctm.errors import UserError
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.features import FolderFeatures, LazyExtractor, folder_features
from soundctm.evaluation.metrics import METRICS, Comparison, Metric, real_score
from soundctm.evaluation.options import EvaluationOptions
from soundctm.evaluation.pairing import Pairing, pair_by_name
from soundctm.evaluation.report import Report, Result
from soundctm.evaluation.statistics.result import Score
from soundctm.inference.prompts import Prompt, read_prompts


def evaluate(options: EvaluationOptions) -> Report:
    """All metrics that `options` ask for. Raises UserError for what is wrong with them, their folders or files."""
    began, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    device = usable_device(options.device)
    weights = registry.parse_weights(options.weights)
    planned = _planned(options)
    extractors = {name: LazyExtractor(name, weights.get(name), device) for name in dict.fromkeys(planned.values())}
    captions = _captions(options.captions) if options.captions else []

    reference = generated = None
    if planned:
        settings = {name: getattr(options, name) for name in ("batch_size", "num_workers", "recalculate")}
        generated = folder_features(options.generated_dir, list(extractors.values()), **settings)
        if options.reference_dir is not None:
            reference = folder_features(options.reference_dir, list(extractors.values()), **settings)
    results = []
    for (name, _), extractor in planned.items():
        results.append(
            _result(METRICS[name], name, extractors[extractor], reference, generated, captions, options.seed)
        )
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


def _planned(options: EvaluationOptions) -> dict[tuple[str, str], str]:
    """(metric, extractor) -> extractor, in the order of the metrics; the CLAP score has an extractor of its own."""
    planned = {}
    for name in options.metrics:
        if name == "class_accuracy":
            continue
        chosen = ("clap",) if name == "clap" else options.extractors
        entries = [registry.entry(extractor) for extractor in chosen]
        usable = [entry.name for entry in entries if entry.classes or not METRICS[name].needs_classes]
        if not usable:
            with_classes = ", ".join(entry.name for entry in registry.available() if entry.classes)
            raise UserError(
                f"{name} needs classes, which {', '.join(chosen)} do not give; --extractors can be {with_classes}"
            )
        planned |= {(name, extractor): extractor for extractor in usable}
    return planned


def _result(
    metric: Metric,
    name: str,
    extractor: LazyExtractor,
    reference: FolderFeatures | None,
    generated: FolderFeatures,
    captions: list[Prompt],
    seed: int,
) -> Result:
    pairing, texts = None, None
    if name == "clap":
        names = [prompt.file_name for prompt in captions]
        pairing = _paired(name, names, generated.names, "captions")
        texts = extractor.loaded.embed_texts([prompt.caption for prompt in captions])
    elif metric.needs_pairs:
        pairing = _paired(name, reference.names, generated.names, "reference clips")
    comparison = Comparison(extractor.name, generated, reference, pairing, texts, seed)
    score, real = metric.score(comparison), real_score(metric, comparison)
    title = metric.title if name == "clap" else f"{metric.title}-{extractor.title}"
    half = len(reference.names) // 2 if reference is not None else 0
    real_is = f"two disjoint halves of the reference, {half} clips each" if metric.halves else "all reference clips"
    hashed = extractor.weights_hash
    return Result(title, score, metric.lower_is_better, extractor.name, hashed, real, real_is if real else "", pairing)


def _paired(metric: str, first: list[str], generated: tuple[str, ...], what: str) -> Pairing:
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
    from soundctm.evaluation import class_accuracy

    folder = Path(options.generated_dir)
    prompts = None if options.prompts is None else Path(options.prompts)
    found = class_accuracy.evaluate(Path(options.corpus), [folder], prompts, not options.quick)
    part = found[f"generated {folder}"]
    kind = next((name for name in ("real_cross_validation", "real_test") if name in found), None)
    real = None if kind is None else _accuracy_score(found[kind])
    real_is = {"real_cross_validation": "all corpus clips, cross-validated", "real_test": "test clips of the corpus"}
    weights = found["yamnet"]
    return Result("class accuracy", _accuracy_score(part), False, "yamnet", weights, real, real_is.get(kind, ""))


def _accuracy_score(part: Mapping) -> Score:
    details = {"heard": part["heard"], "classes": part["classes"]}
    details |= {f"accuracy of {name}": value for name, value in part["per_class"].items()}
    return Score(part["accuracy"], n_generated=part["clips"], details=details)
