"""A small classifier of 2.56 s clips: YAMNet embeddings, standardised, into multinomial logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from soundctm.evaluation.extractors.yamnet import YAMNet

WEIGHT_DECAY = 3e-4  # cross-validation over recordings is flat from 1e-4 to 1e-3; more does not fit known recordings
STEPS = 60  # of L-BFGS


def clip_features(net: YAMNet, waveforms: Tensor, batch_size: int = 32) -> tuple[Tensor, Tensor]:
    """(features [B, 1024], class probabilities [B, 521]) of [B, n]: the means over time.

    Adding the maximum over time, or the class logits, did not help in cross-validation over recordings.
    """
    features, probabilities = [], []
    for batch in waveforms.split(batch_size):
        embeddings, logits = net(batch)
        features.append(embeddings.mean(1))
        probabilities.append(logits.sigmoid().mean(1))
    return torch.cat(features), torch.cat(probabilities)


class LinearClassifier:
    """`fit(features [N, D], targets [N])`, then `predict(features) -> [N]`; every class counts the same in the fit."""

    def __init__(self, num_classes: int):
        self.num_classes = num_classes

    def fit(self, features: Tensor, targets: Tensor) -> LinearClassifier:
        """Minimise class-balanced cross entropy plus an L2 penalty from zero: deterministic, no random start."""
        self.mean, self.std = features.mean(0), features.std(0) + 1e-3
        x = self._standardise(features)
        counts = torch.bincount(targets, minlength=self.num_classes).clamp(min=1)
        balance = (1.0 / counts)[targets]
        balance = balance / balance.sum()
        self.weight = torch.zeros(x.shape[1], self.num_classes, requires_grad=True)
        self.bias = torch.zeros(self.num_classes, requires_grad=True)
        optimiser = torch.optim.LBFGS([self.weight, self.bias], max_iter=STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            entropy = torch.nn.functional.cross_entropy(x @ self.weight + self.bias, targets, reduction="none")
            value = (balance * entropy).sum() + WEIGHT_DECAY * self.weight.square().sum()
            value.backward()
            return value

        optimiser.step(loss)
        self.weight, self.bias = self.weight.detach(), self.bias.detach()
        return self

    def predict(self, features: Tensor) -> Tensor:
        """Class indices [N]."""
        return (self._standardise(features) @ self.weight + self.bias).argmax(1)

    def _standardise(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std / features.shape[1] ** 0.5


def per_class_accuracy(predicted: Tensor, targets: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Share of right predictions per class that has any target."""
    accuracy = {}
    for index, name in enumerate(names):
        mine = targets == index
        if mine.any():
            accuracy[name] = float((predicted[mine] == index).float().mean())
    return accuracy
