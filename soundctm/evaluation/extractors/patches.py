"""What all extractors share: cutting clips into patches, running patches of many clips together, pooling logits.

A clip becomes rows (patches) of one shape; rows of that shape from all clips go through the network in batches and come
back to their clips. Every network here is in eval mode, so a row's result does not depend on the rows beside it, except
for float32 rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from soundctm.evaluation.extractors.base import Features

Network = Callable[[Tensor], tuple[Tensor, Tensor | None]]  # rows [N, ...] -> embeddings [N, D], logits [N, classes]
ONE_WINDOW = 1.05  # windows: a clip up to this long is read by one


class PatchExtractor:
    """An `Extractor` made of two functions.

    `cut(waveform [n]) -> rows [P, ...]` is the front end of one clip. `network(rows) -> (embeddings, logits or None)`
    sees at most `batch_elements` numbers at once (but at least one row). `summarise` turns the embeddings [P, D] of a
    clip into those that it reports; by default they stay one per patch. `pool` makes the logits [classes] of a clip of
    those of its patches. With `stereo`, waveforms are [2, n].
    """

    def __init__(
        self,
        name: str,
        sampling_rate: int,
        dim: int,
        class_names: Sequence[str] | None,
        weights_hash: str,
        cut: Callable[[Tensor], Tensor],
        network: Network,
        device: str | torch.device = "cpu",
        batch_elements: int = 2**20,
        summarise: Callable[[Tensor], Tensor] = lambda embeddings: embeddings,
        pool: Callable[[Tensor], Tensor] | None = None,
        stereo: bool = False,
    ):
        self.name, self.sampling_rate, self.dim = name, sampling_rate, dim
        self.class_names, self.weights_hash = class_names, weights_hash
        self.device = torch.device(device)
        self._cut, self._network, self._summarise = cut, network, summarise
        self._batch_elements, self._stereo = batch_elements, stereo
        self._pool = pool_logits if pool is None else pool

    @torch.no_grad()
    def __call__(self, waveforms: Sequence[Tensor]) -> list[Features]:
        """See `Extractor`. Raises ValueError for a waveform of another shape or without samples."""
        channels = (2,) if self._stereo else ()
        for waveform in waveforms:
            if waveform.shape[:-1] != channels or waveform.numel() == 0:
                wanted = "[2, samples]" if self._stereo else "[samples]"
                raise ValueError(f"{self.name} takes waveforms {wanted}, not {list(waveform.shape)}")
        clips = [self._cut(waveform.to(self.device, torch.float32)) for waveform in waveforms]
        shapes = {clip.shape[1:] for clip in clips}
        features: dict[int, Features] = {}
        for shape in shapes:
            members = [index for index, clip in enumerate(clips) if clip.shape[1:] == shape]
            embeddings, logits = self._run(torch.cat([clips[index] for index in members]))
            counts = [len(clips[index]) for index in members]
            class_rows = [None] * len(members) if logits is None else logits.split(counts)
            for index, rows, classes in zip(members, embeddings.split(counts), class_rows, strict=True):
                features[index] = Features(self._summarise(rows), None if classes is None else self._pool(classes))
        return [features[index] for index in range(len(clips))]

    def _run(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        size = max(1, self._batch_elements // rows[0].numel())
        results = [self._network(batch) for batch in rows.split(size)]
        embeddings = torch.cat([embedding for embedding, _ in results]).float().cpu()
        logits = [classes for _, classes in results if classes is not None]
        return embeddings, torch.cat(logits).float().cpu() if logits else None


def windows(waveform: Tensor, size: int) -> list[Tensor]:
    """A clip [n] as windows of at most `size` samples: deterministic, no random crop.

    A clip of up to 1.05 `size` is one window, its first `size` samples: clips of 10.24 s are read as the official
    toolkit reads them, which takes the first 10 s of every clip. A longer one is covered by ceil(n / size) windows of
    `size`, evenly spread from its start to its end.
    """
    if len(waveform) <= ONE_WINDOW * size:
        return [waveform[:size]]
    count, last = math.ceil(len(waveform) / size), len(waveform) - size
    starts = [round(last * index / (count - 1)) for index in range(count)]
    return [waveform[start : start + size] for start in starts]


def pad_to(waveform: Tensor, size: int) -> Tensor:
    """The waveform [n], zeros appended up to `size` samples where it is shorter."""
    return F.pad(waveform, (0, max(0, size - len(waveform))))


def pool_logits(logits: Tensor) -> Tensor:
    """Logits [classes] of a clip from those of its patches [P, classes]: the logit of the mean sigmoid probability.

        ln(p / (1 - p)),   p = mean over patches of sigmoid(logit)

    Its sigmoid is the mean probability, by which YAMNet's makers judge clips; with one patch it is that patch's logit.
    Computed in logarithms, so that probabilities near 0 and 1 stay finite.
    """
    return F.logsigmoid(logits).logsumexp(0) - F.logsigmoid(-logits).logsumexp(0)
