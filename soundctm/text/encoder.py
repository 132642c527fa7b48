"""A frozen text encoder that encodes each caption once.

The networks see the encoder's last hidden states, one vector per token, as they are: T5 ends in a norm, and the
token states of MiniLM have a spread of about 0.5, so neither needs another scale before cross attention.
The unconditional prompt is the empty string, which encodes to the tokenizer's end or frame tokens.
"""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from soundctm.audioldm.library import apply_forward_hook
from soundctm.errors import UserError, quoted
from soundctm.text.conditioning import TextConditioning
from soundctm.text.sources import load_model, load_tokenizer

if TYPE_CHECKING:  # imported sparingly by soundctm.text.sources
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 64  # captions of equal length that go through the encoder together
MOST_TOKENS = 512  # of a caption, where neither tokenizer nor model has a limit


class TextEncoder(nn.Module):
    """Captions -> TextConditioning over any transformers encoder, always in eval mode and without gradients.

    `tokenizer` may be the name of one, which is then loaded when the first caption comes: token ids need none.
    The `cache_entries` captions used last are kept as unpadded rows on the CPU. With a `length_multiple` above 1,
    captions are padded and masked in the encoder, so that it sees few different shapes.
    """

    stored = False  # whether a checkpoint needs its weights beside its name

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | str,
        name: str,
        cache_entries: int = 4096,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.cache_entries = cache_entries
        self.length_multiple = 1
        self._tokenizer = tokenizer
        self._cache: OrderedDict[str, torch.Tensor] = OrderedDict()

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        *,
        tokenizer: str | None = None,
        dtype: torch.dtype = torch.float32,
        cache_entries: int = 4096,
    ) -> TextEncoder:
        """The encoder called `name`: a folder, `package:NAME/FOLDER` or a hub id (see soundctm.text.sources).

        `tokenizer` names another place for the tokenizer, looked at when it is first needed. CLAP's text branch is a
        `ClapTextEncoder`. Raises UserError when the encoder is not there.
        """
        name = os.fspath(name)
        model = load_model(name, dtype)
        if model.config.model_type == "clap_text_model":
            from soundctm.text.clap import clap_of_folder

            return clap_of_folder(model, tokenizer or load_tokenizer(name), name, cache_entries)
        return cls(model, tokenizer or load_tokenizer(name), name, cache_entries)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def dim(self) -> int:
        """Width D of the hidden states."""
        return self.model.config.hidden_size

    def identity(self) -> str:
        """Tells what captions are encoded to: a hash of the weights, and of what is taken from them."""
        from soundctm.data.latents import state_hash

        return state_hash(self.model.state_dict())[:12]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, loaded on first use. Raises UserError when it is not there."""
        if isinstance(self._tokenizer, str):
            self._tokenizer = load_tokenizer(self._tokenizer)
        return self._tokenizer

    @property
    def max_length(self) -> int:
        """Most tokens per caption; what is longer is cut."""
        limits = (self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", None))
        # A tokenizer that says nothing has 1e30, which is none; T5 has no positions that would end.
        return min((limit for limit in limits if limit and limit < 1_000_000), default=MOST_TOKENS)

    def train(self, mode: bool = True) -> TextEncoder:
        """Stays in eval mode whatever its parent does: dropout would make the conditioning noisy."""
        return super().train(False)

    @apply_forward_hook
    def encode(self, captions: Sequence[str]) -> TextConditioning:
        """Hidden states of `captions` [B, L, D] on the encoder's device; repeated and earlier ones cost nothing.

        Raises UserError for a caption that is no text.
        """
        if isinstance(captions, str) or not captions:
            raise ValueError(f"captions must be a non-empty list of strings, not {captions!r}")
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._cache]
        for caption in new:
            _check_text(caption)
        rows = self._encode_new(new)
        rows.update((caption, self._cache[caption]) for caption in captions if caption in self._cache)
        for caption in dict.fromkeys(captions):
            self._cache[caption] = rows[caption]
            self._cache.move_to_end(caption)
        while len(self._cache) > self.cache_entries:
            self._cache.popitem(last=False)
        real = [(rows[caption], torch.ones(len(rows[caption]), dtype=torch.bool)) for caption in captions]
        return TextConditioning.from_rows(real).to(self.model.device, self.model.dtype)

    @torch.no_grad()
    def encode_ids(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Last hidden states [B, L, D] of token ids [B, L], past the cache; padded positions hold no meaning."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write weights and configuration, and the tokenizer if it has been loaded, in transformers' layout."""
        self.model.save_pretrained(folder)
        if not isinstance(self._tokenizer, str):
            self._tokenizer.save_pretrained(folder)

    def _encode_new(self, captions: Sequence[str]) -> dict[str, torch.Tensor]:
        """Rows [L, D] on the CPU. Captions of equal length share a call, without padding unless it is asked for."""
        if not captions:
            return {}
        ids = self.tokenizer(list(captions), truncation=True, max_length=self.max_length, padding=False)["input_ids"]
        by_length: dict[int, list[int]] = defaultdict(list)
        for index, tokens in enumerate(ids):
            by_length[self._padded_length(len(tokens))].append(index)
        rows: dict[str, torch.Tensor] = {}
        for length, indices in by_length.items():
            for start in range(0, len(indices), BATCH):
                part = indices[start : start + BATCH]
                tokens, mask = self._padded([ids[index] for index in part], length)
                hidden = self.encode_ids(tokens.to(self.model.device), mask.to(self.model.device)).cpu()
                # a clone per row: a view would keep the whole batch alive for as long as one caption is cached
                rows.update(
                    (captions[index], row[: len(ids[index])].clone())
                    for index, row in zip(part, hidden[: len(part)], strict=True)
                )
        return rows

    def _padded_length(self, length: int) -> int:
        """At least one longer than `length`, for the mask to be needed always; `max_length` at most."""
        multiple = self.length_multiple
        return length if multiple == 1 else max(length, min((length // multiple + 1) * multiple, self.max_length))

    def _padded(self, ids: list[list[int]], length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids [n, length] and the mask of real ones; with padding n is a power of two, the last row repeated."""
        if self.length_multiple > 1:
            ids = [*ids, *[ids[-1]] * ((1 << (len(ids) - 1).bit_length()) - len(ids))]
        pad = getattr(self.model.config, "pad_token_id", None) or 0
        tokens = torch.tensor([[*row, *[pad] * (length - len(row))] for row in ids])
        mask = torch.tensor([[int(place < len(row)) for place in range(length)] for row in ids])
        return tokens, mask


def _check_text(caption: str) -> None:
    """Raises UserError for half characters: bytes of a command line that are no UTF-8."""
    try:
        caption.encode()
    except UnicodeEncodeError as error:
        text = caption.encode("utf-8", "backslashreplace").decode()
        raise UserError(f"the caption {quoted(text)} is not UTF-8 text") from error
