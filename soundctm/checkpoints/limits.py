"""What a part's `config.json` may say: types and ranges, looked at before anything is built from it.

The libraries that build the parts believe what they read. The ranges are far beyond any model that is of use here; docs
and SECURITY.md state the ones that a user may meet. Those of the mel codec are in `audioldm.parts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundctm.audioldm import parts
from soundctm.audioldm.errors import CodecError
from soundctm.errors import UserError

MOST_BLOCKS = 256  # levels x layers x transformer layers

# whole numbers, or lists of them
RANGES: dict[str, tuple[int, int]] = {
    **parts.RANGES,
    **dict.fromkeys(("transformer_layers_per_block", "reverse_transformer_layers_per_block"), (1, 64)),
    **dict.fromkeys(("num_layers", "num_decoder_layers", "num_hidden_layers", "encoder_layers"), (0, 256)),
    **dict.fromkeys(("depth", "decoder_layers", "n_layer", "n_layers"), (0, 256)),
    **dict.fromkeys(("num_heads", "num_attention_heads", "attention_head_dim", "num_key_value_heads"), (1, 1024)),
    **dict.fromkeys(("hidden_size", "d_model", "d_ff", "d_kv", "intermediate_size"), (1, 131_072)),
    **dict.fromkeys(("cross_attention_dim", "encoder_hid_dim"), (1, 131_072)),
    **dict.fromkeys(("encoder_width", "decoder_width"), (1, 16_384)),
    "rates": (1, 1024),
    **dict.fromkeys(("conv_in_kernel", "conv_out_kernel"), (1, 1024)),
    "downsample_padding": (1, 1),  # what is cut off otherwise is missing where the levels meet again
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "relative_attention_num_buckets"), (1, 4_194_304)),
    "relative_attention_max_distance": (1, 1_048_576),
}
TEXTS = (*parts.TEXTS, "mid_block_type")
FOREIGN = (  # inputs of diffusers' UNet that are not there here
    *("class_embed_type", "addition_embed_type", "encoder_hid_dim_type", "num_class_embeds", "time_cond_proj_dim"),
)


def check_config(values: Mapping[str, Any], path: Path) -> None:
    """Raises UserError for a value of `path` of the wrong type or out of range, and for code that it names."""
    try:
        parts.check_values(values, path, RANGES, TEXTS)
    except CodecError as error:
        raise UserError(error) from error
    blocks = _largest(values, "layers_per_block") * _largest(values, "transformer_layers_per_block")
    levels = values.get("block_out_channels")
    if blocks * (len(levels) if isinstance(levels, list | tuple) else 1) > MOST_BLOCKS:
        raise UserError(f"{path}: levels, `layers_per_block` and `transformer_layers_per_block` make too many blocks")


def check_network(values: Mapping[str, Any], kind: type, path: Path) -> None:
    """Raises UserError where the network `kind` cannot be run with `values`, though it could be built."""
    try:
        parts.check_kinds(values, kind, path)
    except CodecError as error:
        raise UserError(error) from error
    for name in FOREIGN:
        if values.get(name) is not None:
            raise UserError(f"{path}: `{name}` is for an input that no network here has")


def _largest(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    while isinstance(value, list | tuple):
        value = max((v for v in value if isinstance(v, int | list | tuple)), key=_size, default=1)
    return value if isinstance(value, int) else 1


def _size(value: Any) -> int:
    return value if isinstance(value, int) else max((_size(v) for v in value), default=0)
