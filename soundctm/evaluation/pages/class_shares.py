"""Which sounds there are: the share of clips per class, by the loudest class of an extractor's logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from soundctm.inference.spectrogram import new_figure, png_bytes

MOST_BARS = 20
REFERENCE_COLOUR, GENERATED_COLOUR = "#8a8a8a", "#c8553d"


def class_shares(logits: Tensor) -> Tensor:
    """[clips, classes] -> [classes]: the share of the clips for which this class has the largest logit."""
    return torch.bincount(logits.argmax(1), minlength=logits.shape[1]).double() / len(logits)


def class_share_chart(names: Sequence[str], reference: Tensor, generated: Tensor) -> bytes:
    """A PNG with two bars per class: its share [classes] of the reference and of the generated clips.

    Shows the MOST_BARS classes with the largest sum of both shares, classes that no clip has left out, and below them
    what all others have together.
    """
    total = reference + generated
    order = [k for k in total.argsort(descending=True, stable=True).tolist() if total[k] > 0]
    shown, others = order[:MOST_BARS], order[MOST_BARS:]
    labels = [names[k] for k in shown]
    bars = [(float(reference[k]), float(generated[k])) for k in shown]
    if others:
        labels.append(f"{len(others)} other classes")
        bars.append((float(reference[others].sum()), float(generated[others].sum())))

    figure = new_figure(8.0, 1.2 + 0.32 * len(bars), layout="constrained")
    axes = figure.subplots()
    places = range(len(bars))
    axes.barh([p - 0.2 for p in places], [100 * b[0] for b in bars], 0.4, label="reference", color=REFERENCE_COLOUR)
    axes.barh([p + 0.2 for p in places], [100 * b[1] for b in bars], 0.4, label="generated", color=GENERATED_COLOUR)
    axes.set_yticks(places, labels=labels, fontsize=9, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("% of clips whose loudest class this is")
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return png_bytes(figure)
