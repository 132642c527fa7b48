"""CLAP's text branch: one vector of length 1 per caption, which the networks see as a single token.

    pooled       p / |p| of RoBERTa's pooled output p                      SoundCTM-DiT v2
    projected    q / |q| of q = projection(p), CLAP's own embedding        SoundCTM-DiT v1

The unconditional prompt is the empty string here too.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, PreTrainedTokenizerBase

from soundctm.text.encoder import TextEncoder

Form = Literal["pooled", "projected"]
FORMS = ("pooled", "projected")
MOST_TOKENS = 77  # what CLAP was trained with


class ClapTextEncoder(TextEncoder):
    """Captions -> TextConditioning of one token each, float32 whatever the encoder's precision."""

    def __init__(
        self,
        model: ClapTextModelWithProjection,
        tokenizer: PreTrainedTokenizerBase | str,
        name: str,
        form: Form,
        cache_entries: int = 4096,
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"form is {form!r}; it must be one of {', '.join(map(repr, FORMS))}")
        super().__init__(model, tokenizer, name, cache_entries)
        self.form = form

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        config = self.model.config
        return config.projection_dim if self.form == "projected" else config.hidden_size

    @property
    def max_length(self) -> int:
        """Most tokens per caption; what is longer is cut."""
        return MOST_TOKENS

    @torch.no_grad()
    def encode_ids(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Vectors [B, 1, D] of token ids [B, L], past the cache."""
        vectors = self.model.text_model(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        if self.form == "projected":
            vectors = self.model.text_projection(vectors)
        return F.normalize(vectors.float(), dim=-1)[:, None]
