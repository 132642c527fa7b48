"""The T5 encoder as the official files carry it: one embedding under two names, or under either of them."""

from __future__ import annotations

import torch
from transformers import T5Config, T5EncoderModel

from soundctm.checkpoints.assign import build
from soundctm.checkpoints.torch_files import StateDict
from soundctm.errors import UserError

SHARED, EMBEDDED = "shared.weight", "encoder.embed_tokens.weight"


def build_t5(config: T5Config, state: StateDict, source: str, dtype: torch.dtype = torch.float32) -> T5EncoderModel:
    """T5EncoderModel with the weights `state` (names without `text_encoder.`), its embedding tied.

    Raises UserError when keys do not fit or when the two names hold different embeddings.
    """
    model = build(lambda: T5EncoderModel(config), tie(state, source), source, dtype)
    model.set_input_embeddings(model.shared)
    return model


def tie(state: StateDict, source: str) -> StateDict:
    """`state` with the embedding under both of its names. Raises UserError when the names hold different tensors."""
    given = [state[name] for name in (SHARED, EMBEDDED) if name in state]
    if len(given) == 2 and (given[0].shape != given[1].shape or not torch.equal(*given)):
        raise UserError(f"{source}: {SHARED} and {EMBEDDED} differ, but they are one tensor in this model")
    return {**state, SHARED: given[0], EMBEDDED: given[0]} if given else state
