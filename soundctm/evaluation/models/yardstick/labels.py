"""The labels that are judged, what they are judged by, and what is asked of a model for them.

All labels of the corpus with at least FEWEST source groups count, none is chosen. A group is one recording with its
variants; folds never split it. Captions are phrasings that training never uses (soundctm.data.captions.hold_out).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from soundctm.data.captions import LabelSpec, hold_out
from soundctm.data.compose import ComposedCorpus
from soundctm.data.corpus import CorpusRow, by_label
from soundctm.errors import UserError
from soundctm.evaluation.models.classifier import LinearClassifier

FEWEST = 5  # source groups of a label
FOLDS = 5
MOST = 40  # clips of a label in a fit: groups in turn, so that variants of one do not crowd out the others
PHRASINGS = ("held_out", "seen")

Featured = tuple[Tensor, Tensor, Tensor]  # features [N, D], label numbers [N], folds [N]


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers: by label, and their mean over labels."""

    by_label: dict[str, float]

    @property
    def mean(self) -> float:
        """Macro average."""
        return sum(self.by_label.values()) / len(self.by_label)

    @property
    def bottom_quarter(self) -> float:
        """Mean over the quarter of labels that do worst."""
        worst = sorted(self.by_label.values())[: max(1, len(self.by_label) // 4)]
        return sum(worst) / len(worst)


def judged_labels(rows: Sequence[CorpusRow], fewest: int = FEWEST) -> dict[str, list[CorpusRow]]:
    """Clips of every label with at least `fewest` groups, at most MOST each. Raises UserError for fewer than two."""
    found = {}
    for label, members in by_label(rows).items():
        groups: dict[str, list[CorpusRow]] = {}
        for row in sorted(members, key=lambda row: row.file_name):
            groups.setdefault(row.group, []).append(row)
        if len(groups) >= fewest:
            longest = max(map(len, groups.values()))
            turns = [part[k] for k in range(longest) for part in groups.values() if k < len(part)]
            found[label] = turns[:MOST]
    if len(found) < 2:
        raise UserError(f"{len(found)} labels have {fewest} source groups; a classifier needs at least two labels")
    return found


def featured(
    labels: Mapping[str, Sequence[CorpusRow]],
    items: ComposedCorpus,
    features: Callable[[Tensor], Tensor],
) -> Featured:
    """Every clip once, as an item, with its fold: the groups of a label go to the folds in turn."""
    waveforms, targets, folds = [], [], []
    for number, rows in enumerate(labels.values()):
        place = {group: k % FOLDS for k, group in enumerate(dict.fromkeys(row.group for row in rows))}
        for row in rows:
            waveforms.append(items.from_row(row, 0)[0])
            targets.append(number)
            folds.append(place[row.group])
    return features(torch.stack(waveforms)), torch.tensor(targets), torch.tensor(folds)


def accuracy(predicted: Tensor, targets: Tensor, names: Sequence[str]) -> Accuracy:
    """Of predictions [N]; every name must be among the targets."""
    return Accuracy({name: (predicted[targets == k] == k).float().mean().item() for k, name in enumerate(names)})


def cross_validated(real: Featured, names: Sequence[str]) -> Accuracy:
    """Of real clips, each judged by a classifier that knows no variant of its recording."""
    features, targets, folds = real
    predicted = torch.empty_like(targets)
    for fold in range(FOLDS):
        held_out = folds == fold
        known = LinearClassifier(len(names)).fit(features[~held_out], targets[~held_out])
        predicted[held_out] = known.predict(features[held_out])
    return accuracy(predicted, targets, names)


def judged(real: Featured, features: Tensor, targets: Tensor, names: Sequence[str]) -> Accuracy:
    """Of generated clips, as the mean over the same classifiers that judge the real ones."""
    known, labels, folds = real
    parts = []
    for fold in range(FOLDS):
        others = folds != fold
        classifier = LinearClassifier(len(names)).fit(known[others], labels[others])
        parts.append(accuracy(classifier.predict(features), targets, names).by_label)
    return Accuracy({name: sum(part[name] for part in parts) / FOLDS for name in names})


def captions_of(labels: Sequence[str], table: Mapping[str, LabelSpec], phrasings: str) -> dict[str, str]:
    """One caption per label: the phrasing held out from training, or the first that is used in it.

    A label with too few phrasings to hold one out has its seen one in both cases.
    """
    split = hold_out(table)
    return {
        label: split[label].held_out or split[label].say[0] if phrasings == "held_out" else split[label].say[0]
        for label in labels
    }
