"""CLAP's text branch: one vector of length 1 per caption, which the networks see as a single token.

    pooled       p / |p| of RoBERTa's pooled output p                      SoundCTM-DiT v2
    projected    q / |q| of q = projection(p), CLAP's own embedding        SoundCTM-DiT v1

`config.json` says which, as "conditioning"; where it does not, as in CLAP's own files, vectors are pooled. The
unconditional prompt is the empty string here too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, PreTrainedTokenizerBase

from soundctm.errors import UserError
from soundctm.text.encoder import TextEncoder
from soundctm.text.sources import resolve

Form = Literal["pooled", "projected"]
FORMS = ("pooled", "projected")
MOST_TOKENS = 77  # what CLAP was trained with
REST = "clap_rest.safetensors"  # beside the weights


class ClapTextEncoder(TextEncoder):
    """Captions -> TextConditioning of one token each.

    `rest` holds what the official files have of CLAP beside its text branch, under their names: nothing here needs it
    but to write such files again.
    """

    def __init__(
        self,
        model: ClapTextModelWithProjection,
        tokenizer: PreTrainedTokenizerBase | str,
        name: str,
        form: Form,
        cache_entries: int = 4096,
        rest: Mapping[str, torch.Tensor] | Path | None = None,
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"form is {form!r}; it must be one of {', '.join(map(repr, FORMS))}")
        super().__init__(model, tokenizer, name, cache_entries)
        self.form = form
        self.stored = True  # its name may be that of a tokenizer
        self._rest = rest

    @property
    def rest(self) -> Mapping[str, torch.Tensor] | None:
        """The other tensors of CLAP, read from their file when they are asked for."""
        return load_file(self._rest) if isinstance(self._rest, Path) else self._rest

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        config = self.model.config
        return config.projection_dim if self.form == "projected" else config.hidden_size

    @property
    def max_length(self) -> int:
        """Most tokens per caption; what is longer is cut."""
        return MOST_TOKENS

    def identity(self) -> str:
        """A hash of the weights, and the form of the vectors."""
        return f"{super().identity()}-{self.form}"

    @torch.no_grad()
    def encode_ids(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Vectors float32 [B, 1, D] of token ids [B, L], past the cache."""
        vectors = self.model.text_model(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        if self.form == "projected":
            vectors = self.model.text_projection(vectors)
        return F.normalize(vectors.float(), dim=-1)[:, None]

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """As `TextEncoder.save_pretrained`, with the form in the configuration and `rest` in a file of its own."""
        self.model.config.conditioning = self.form
        super().save_pretrained(folder)
        if (rest := self.rest) is not None:
            save_file({name: value.contiguous() for name, value in rest.items()}, Path(folder) / REST)


def clap_of_folder(
    model: ClapTextModelWithProjection, tokenizer: PreTrainedTokenizerBase | str, name: str, cache_entries: int
) -> ClapTextEncoder:
    """The encoder of a model that was read from `name`. Raises UserError for a form that there is not."""
    form = getattr(model.config, "conditioning", "pooled")
    if form not in FORMS:
        raise UserError(f"{name}: `conditioning` in its config.json is {str(form)[:60]!r}; it is {' or '.join(FORMS)}")
    rest = Path(name) / REST
    encoder = ClapTextEncoder(model, tokenizer, name, form, cache_entries, rest if rest.is_file() else None)
    encoder.stored = resolve(name).local
    return encoder
