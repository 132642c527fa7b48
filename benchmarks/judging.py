"""Two judges of the class of a clip, for clips whose loudness was led along a curve.

Both are logistic regressions on YAMNet's embeddings (`soundctm.evaluation.models.class_accuracy`). `plain` was fitted
on real training clips as they are: it hears a known bark that swells from nothing as something else, because what it
heard never did. `levels` was fitted on the same clips and on each once more with a random course of loudness.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from soundctm.control import Sound, intensity
from soundctm.data.compose import ComposedCorpus
from soundctm.data.corpus import load_corpus, present_rows
from soundctm.evaluation.extractors.yamnet import load_yamnet
from soundctm.evaluation.models.class_accuracy import ITEMS_PER_CLASS
from soundctm.evaluation.models.classes import CLASSES, NAMES, rows_by_class
from soundctm.evaluation.models.classifier import LinearClassifier, clip_features, per_class_accuracy
from soundctm.evaluation.statistics.frechet import frechet_distance
from soundctm.files import whole_file

SOFTEST, LOUDEST = -55.0, -10.0  # dB, of random courses
JUDGES = ("plain", "levels")


def turned(waveforms: Tensor, rate: int, target: Tensor, rounds: int = 6) -> Tensor:
    """Waveforms [B, n] under the gain that gives each the intensity `target` [B or 1, frames] in dB."""
    gain, sound = torch.zeros(1), waveforms
    for _ in range(rounds):  # frames overlap, so a gain is not exact at once
        gain = gain + target - intensity(Sound.of_waveform(sound, rate))
        smooth = torch.nn.functional.interpolate(gain[:, None], size=waveforms.shape[1], mode="linear")[:, 0]
        sound = waveforms * 10 ** (smooth / 20)
    return sound


def random_courses(count: int, frames: int, generator: torch.Generator) -> Tensor:
    """[count, frames] in dB: straight lines between 2 to 6 levels."""
    courses = []
    for points in torch.randint(2, 7, (count,), generator=generator).tolist():
        levels = torch.rand(points, generator=generator) * (LOUDEST - SOFTEST) + SOFTEST
        courses.append(torch.nn.functional.interpolate(levels[None, None], frames, mode="linear", align_corners=True))
    return torch.cat(courses)[:, 0]


class Judges:
    """`features` of clips, and from them the class accuracy by either judge and FAD against real training clips."""

    def __init__(self, corpus: Path, cache: Path) -> None:
        """What the judges are fitted on is kept in the file `cache`."""
        self.net, self.corpus = load_yamnet(), corpus
        if not cache.is_file():
            cache.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(cache) as path:
                save_file(self._heard(), path)
        heard = load_file(cache)
        self.real, targets = heard["real"], heard["targets"]
        both = torch.cat([self.real, heard["turned"]])
        self.classifiers = {
            "plain": LinearClassifier(len(CLASSES)).fit(self.real, targets),
            "levels": LinearClassifier(len(CLASSES)).fit(both, targets.repeat(2)),
        }

    def clips(self, per_class: int, known: bool) -> tuple[Tensor, list[str]]:
        """Real clips of the training split as they are, at most `per_class`; `known` is as the judges are fitted."""
        rows = [row for row in present_rows(load_corpus(self.corpus), self.corpus) if row.split == "train"]
        corpus, waveforms, labels = ComposedCorpus(rows, self.corpus, speed_changes=known), [], []
        for name, members in rows_by_class(rows).items():
            step = 1 if known else max(1.0, len(members) / per_class)
            for number in range(per_class if known else min(per_class, len(members))):
                waveforms.append(corpus.from_row(members[int(number * step) % len(members)], number)[0])
                labels.append(name)
        return torch.stack(waveforms), labels

    def features(self, waveforms: Tensor) -> Tensor:
        """[B, 1024] of waveforms [B, n] at 16 kHz."""
        return clip_features(self.net, waveforms)[0]

    def accuracy(self, judge: str, features: Tensor, labels: Sequence[str]) -> float:
        """The mean over classes of the share of clips in which the judge hears their label."""
        targets = torch.tensor([NAMES.index(label) for label in labels])
        per_class = per_class_accuracy(self.classifiers[judge].predict(features), targets, NAMES)
        return sum(per_class.values()) / len(per_class)

    def fad(self, features: Tensor) -> float:
        """Frechet distance to the real training clips."""
        return frechet_distance(self.real, features, level=None).value

    def _heard(self) -> dict[str, Tensor]:
        waveforms, labels = self.clips(ITEMS_PER_CLASS, known=True)
        frames = intensity(Sound.of_waveform(waveforms[:1], 16_000)).shape[1]
        courses = random_courses(len(waveforms), frames, torch.Generator().manual_seed(0))
        targets = torch.tensor([NAMES.index(label) for label in labels])
        changed = turned(waveforms, 16_000, courses)
        return {"real": self.features(waveforms), "turned": self.features(changed), "targets": targets}
