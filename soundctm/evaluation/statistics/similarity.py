"""The CLAP score: how well the sound of a clip fits its caption.

It is the plain cosine, between -1 and 1, averaged over clips, as the official evaluation's (disabled) code and most
text-to-audio papers have it. The variant max(0, 100 cosine) of image captions is left out: cutting at 0 hides how wrong
a clip is, and the factor is a matter of display.
"""

from __future__ import annotations

import torch
from torch import Tensor

from soundctm.errors import UserError
from soundctm.evaluation.statistics.bootstrap import mean_score
from soundctm.evaluation.statistics.clips import paired_matrices
from soundctm.evaluation.statistics.result import Score


def cosines(audio_embeddings: Tensor, text_embeddings: Tensor) -> Tensor:
    """Cosine similarity of each pair, float64 [N], from embeddings [N, D]. Raises UserError on a zero embedding."""
    pair = paired_matrices(audio_embeddings, text_embeddings, ("audio embeddings", "text embeddings"))
    for name, rows in zip(("audio", "text"), pair, strict=True):
        if (zero := ~rows.any(1)).any():
            raise UserError(f"{name} embedding {zero.nonzero()[0].item()} is zero and has no direction")
    return torch.nn.functional.cosine_similarity(*pair)


def clap_score(audio_embeddings: Tensor, text_embeddings: Tensor, level: float | None = 0.95, seed: int = 0) -> Score:
    """Mean cosine similarity of audio and text embeddings [N, D], row i of one describing row i of the other."""
    return mean_score(cosines(audio_embeddings, text_embeddings), level, seed)
