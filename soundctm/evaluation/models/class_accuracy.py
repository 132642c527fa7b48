"""Do generated clips sound like their class? A classifier fitted on real clips decides.

    python -m soundctm.evaluation.models.class_accuracy --corpus corpus
    python ctm_inference.py --test_file data/class_prompts.csv --output_dir out
    python -m soundctm.evaluation.models.class_accuracy --corpus corpus --generated out --prompts data/class_prompts.csv

`--prompts data/unseen_captions.csv` judges captions made of words that training never saw.

The classifier (logistic regression on YAMNet embeddings) is fitted on items of 2.56 s composed from real training
clips. Its own accuracy on real clips bounds what the number for generated clips can mean. It is measured by
cross-validation over all clips, where all variants of a recording are held out together; on the test split (few classes
have clips there); and on the training clips, which are what a model trained on them would reproduce at best. All
accuracies are means over classes. `heard` counts a clip as right if an AudioSet class that fits
is among YAMNet's three loudest: a judge that never saw the corpus.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import logging
import operator
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from soundctm.command import Parser, exit_code
from soundctm.data.audio import load_clip
from soundctm.data.compose import NUM_SAMPLES, ComposedCorpus
from soundctm.data.corpus import DATA_FOLDER, CorpusRow, load_corpus, present_rows
from soundctm.data.tables import read_captions
from soundctm.errors import UserError
from soundctm.evaluation.extractors.yamnet import YAMNet, load_yamnet
from soundctm.evaluation.folders.clips import clip_name, list_clips
from soundctm.evaluation.folders.pairing import pair_by_name
from soundctm.evaluation.models.classes import CLASSES, NAMES, group_folds, rows_by_class
from soundctm.evaluation.models.classifier import LinearClassifier, clip_features, per_class_accuracy
from soundctm.files import write_whole
from soundctm.inference.clips import plan_clips
from soundctm.inference.prompts import Prompt

ITEMS_PER_CLASS = 60  # composed for fitting
ITEMS_PER_FOLD = 20  # the same in cross-validation, per class and fold
TEST_PER_CLASS = 24  # clips judged per class and part, at most
FOLDS = 5
TOP = 3
logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Judged:
    """Clips ready to be judged: features [N, D], whether a fitting AudioSet class is heard [N], class indices [N]."""

    features: Tensor
    heard: Tensor
    targets: Tensor

    def __add__(self, other: Judged) -> Judged:
        return Judged(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in dataclasses.fields(self)))


def judge(net: YAMNet, waveforms: Tensor, targets: Tensor) -> Judged:
    """Features of waveforms [N, n] at 16 kHz, whose class indices are `targets` [N]."""
    features, probabilities = clip_features(net, waveforms)
    heard = [
        any(net.class_names[k] in CLASSES[target].audioset for k in row.topk(TOP).indices.tolist())
        for row, target in zip(probabilities, targets.tolist(), strict=True)
    ]
    return Judged(features, torch.tensor(heard), targets)


def real_items(rows: Sequence[CorpusRow], root: Path, net: YAMNet, per_class: int = 0) -> Judged:
    """Items of real clips: `per_class` of every class with speed changes (to fit on), clips used in turn;
    with 0 every clip once as it is, at most TEST_PER_CLASS per class spread evenly (to test on)."""
    corpus = ComposedCorpus(rows, root, speed_changes=per_class > 0)
    waveforms, targets = [], []
    for index, members in enumerate(rows_by_class(rows).values()):
        if per_class:
            chosen = [members[i % len(members)] for i in range(per_class if members else 0)]
        else:
            step = max(1.0, len(members) / TEST_PER_CLASS)
            chosen = [members[int(i * step)] for i in range(min(len(members), TEST_PER_CLASS))]
        for number, row in enumerate(chosen):
            waveforms.append(corpus.from_row(row, number)[0])
            targets.append(index)
    return judge(net, torch.stack(waveforms), torch.tensor(targets))


def generated_clips(folder: Path, prompts: Path, net: YAMNet) -> Judged:
    """Sounds of `folder` named in the CSV `prompts` (file_name, caption, label), found as the metrics find them.

    Rows whose label is none of the classes are left out, with a warning. Raises UserError for absent columns, no row
    of a class, and absent wavs.
    """
    rows, files = _read_prompts(prompts), list_clips(folder)
    clips = plan_clips([Prompt(row["caption"], row["file_name"]) for row in rows], 0, 1)
    pairing = pair_by_name(
        [f"{clip.name}.wav" for clip in clips], [clip_name(file, folder) for file in files], "prompts"
    )
    absent = pairing.unmatched_first
    if absent:
        raise UserError(f"{folder} lacks {len(absent)} of the clips of {prompts}: {', '.join(absent[:5])} ...")
    pairs = sorted(pairing.pairs)
    waveforms = [load_clip(files[j], NUM_SAMPLES) for _, j in pairs]
    targets = [NAMES.index(rows[i]["label"]) for i, _ in pairs]
    return judge(net, torch.stack(waveforms), torch.tensor(targets))


def summary(predicted: Tensor, clips: Judged) -> dict[str, object]:
    """Mean over classes, the share heard, clip count, accuracy per class and the most frequent confusions."""
    per_class = per_class_accuracy(predicted, clips.targets, NAMES)
    heard = [clips.heard[clips.targets == index].float().mean() for index in clips.targets.unique()]
    pairs = Counter(
        f"{NAMES[target]} as {NAMES[guess]}"
        for guess, target in zip(predicted.tolist(), clips.targets.tolist(), strict=True)
        if guess != target
    )
    return {
        "accuracy": sum(per_class.values()) / len(per_class),
        "heard": float(torch.stack(heard).mean()),
        "clips": len(clips.targets),
        "classes": len(per_class),
        "per_class": per_class,
        "confusions": dict(pairs.most_common(12)),
    }


def cross_validate(rows: Sequence[CorpusRow], root: Path, net: YAMNet, folds: int = FOLDS) -> dict[str, object]:
    """Accuracy on real clips, each judged by a classifier that knows no variant of its recording.

    Items of a fold are composed of its own clips alone.
    """
    parts = [part for part in group_folds(rows, folds) if part]
    fitted_on = [real_items(part, root, net, ITEMS_PER_FOLD) for part in parts]
    tested_on = [real_items(part, root, net) for part in parts]
    predictions = []
    for held_out, test in enumerate(tested_on):
        others = [fitted for k, fitted in enumerate(fitted_on) if k != held_out]
        known = functools.reduce(operator.add, others)
        predictions.append(LinearClassifier(len(NAMES)).fit(known.features, known.targets).predict(test.features))
    return summary(torch.cat(predictions), functools.reduce(operator.add, tested_on))


def evaluate(
    corpus: Path, generated: Sequence[Path] = (), prompts: Path | None = None, cross_validation: bool = True
) -> dict[str, object]:
    """The command's report: real clips (`real_cross_validation` if wanted), then one part per generated folder."""
    rows = present_rows(load_corpus(corpus), corpus)
    train, test = (_of_classes(row for row in rows if row.split == split) for split in ("train", "test"))
    absent = [name for name, members in rows_by_class(train).items() if not members]
    if absent:
        raise UserError(f"{corpus} has no training clips of the class {', '.join(absent)}; build all packages")
    net = load_yamnet()
    known = real_items(train, corpus, net, ITEMS_PER_CLASS)
    classifier = LinearClassifier(len(NAMES)).fit(known.features, known.targets)
    report: dict[str, object] = {"classifier": "logistic regression on YAMNet embeddings", "yamnet": net.weights_hash}
    if cross_validation:
        report["real_cross_validation"] = cross_validate(rows, corpus, net)
    for name, clips_of in (("real_test", test), ("real_train", train)):
        if clips_of:
            clips = real_items(clips_of, corpus, net)
            report[name] = summary(classifier.predict(clips.features), clips)
    for folder in generated:
        clips = generated_clips(folder, prompts or DATA_FOLDER / "class_prompts.csv", net)
        report[f"generated {folder}"] = summary(classifier.predict(clips.features), clips)
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 for wrong use."""
    parser = Parser(
        prog="python -m soundctm.evaluation.models.class_accuracy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--corpus", type=Path, required=True, help="a built corpus folder")
    parser.add_argument("--generated", type=Path, nargs="+", default=(), help="folders of generated wavs")
    parser.add_argument("--prompts", type=Path, help="their CSV: file_name, caption, label (data/class_prompts.csv)")
    parser.add_argument("--quick", action="store_true", help="without the cross-validation on real clips")
    parser.add_argument("--output", type=Path, help="where to write the report as JSON")
    args = parser.parse_args(arguments)
    return exit_code(lambda: _report(args))


def _report(args: argparse.Namespace) -> None:
    report = evaluate(args.corpus, args.generated, args.prompts, not args.quick)
    if args.output is not None:
        write_whole(args.output, json.dumps(report, indent=2) + "\n")
    parts = {name: part for name, part in report.items() if isinstance(part, dict)}
    for name, part in parts.items():
        print(f"{name} per class: " + ", ".join(f"{key} {value:.2f}" for key, value in part["per_class"].items()))
        print(f"{name} confusions: " + ", ".join(f"{key} {value}" for key, value in part["confusions"].items()))
    for name, part in parts.items():
        print(_line(name, part))


def _of_classes(rows: Iterable[CorpusRow]) -> list[CorpusRow]:
    return [row for members in rows_by_class(rows).values() for row in members]


def _line(name: str, part: Mapping[str, object]) -> str:
    return (
        f"{name}: accuracy {part['accuracy']:.3f}, heard by YAMNet {part['heard']:.3f} "
        f"({part['clips']} clips, {part['classes']} classes)"
    )


def _read_prompts(path: Path) -> list[dict[str, str]]:
    rows = [row.cells for row in read_captions(path, ("file_name", "caption", "label"))]
    known = [row for row in rows if row["label"] in NAMES]
    if not known:
        raise UserError(f"{path}: no row has a label of the classes {', '.join(NAMES)}")
    if len(known) < len(rows):
        others = sorted({row["label"] for row in rows} - set(NAMES))
        logger.warning("%s: rows with the labels %s are left out", path, ", ".join(others))
    return known


if __name__ == "__main__":
    sys.exit(main())
