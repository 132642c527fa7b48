"""The one interface of all feature extractors: waveforms in, embeddings and (where it has them) class logits out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """What one extractor says of one clip.

    `embeddings` is float32 [P, D]: one row per patch of the clip, P = 1 for extractors that see it whole. `logits` is
    float32 [classes] for the whole clip, before softmax or sigmoid, or None when the extractor has no classes.
    """

    embeddings: Tensor
    logits: Tensor | None = None


@runtime_checkable
class Extractor(Protocol):
    """A frozen network that describes sound. Calling it must not depend on which clips share the batch."""

    name: str  # as on the command line: "vggish"
    sampling_rate: int  # Hz of the waveforms it takes
    dim: int  # D of the embeddings
    class_names: Sequence[str] | None  # of the logits, None without classes
    weights_hash: str  # sha256 (hex) of the weights

    def __call__(self, waveforms: Sequence[Tensor]) -> list[Features]:
        """Features on the CPU, one per waveform [samples]: mono float32 in [-1, 1] at `sampling_rate`, any lengths.

        Those that the registry says read stereo take [2, samples].
        """
        ...
