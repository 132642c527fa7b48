"""What a part's `config.json` may say: types and ranges, looked at before anything is built from it.

The libraries that build the parts believe what they read: a billion layers would be made one after the other. The
ranges are far beyond any model that is of use here; docs and SECURITY.md state the ones that a user may meet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundctm.errors import UserError, quoted

LONGEST = 4096  # characters of a text, entries of a list or table that no range is known for
SIZES = 16  # entries of a list of sizes (one per level, say)
MOST_BLOCKS = 256  # levels x layers x transformer layers
DEEPEST = 8

# whole numbers, or lists of them
RANGES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("layers_per_block", "transformer_layers_per_block"), (1, 64)),
    **dict.fromkeys(("reverse_transformer_layers_per_block",), (1, 64)),
    **dict.fromkeys(("layers", "num_layers", "num_decoder_layers", "num_hidden_layers", "encoder_layers"), (0, 256)),
    **dict.fromkeys(("depth", "decoder_layers", "n_layer", "n_layers"), (0, 256)),
    **dict.fromkeys(("num_heads", "num_attention_heads", "attention_head_dim", "num_key_value_heads"), (1, 1024)),
    **dict.fromkeys(("in_channels", "out_channels", "latent_channels", "model_in_dim", "n_mels"), (1, 4096)),
    **dict.fromkeys(
        ("channels", "hidden", "hidden_size", "d_model", "d_ff", "d_kv", "intermediate_size"), (1, 131_072)
    ),
    **dict.fromkeys(("cross_attention_dim", "upsample_initial_channel", "encoder_hid_dim"), (1, 131_072)),
    "block_out_channels": (4, 16_384),
    **dict.fromkeys(("encoder_width", "decoder_width"), (1, 16_384)),
    "rates": (1, 1024),
    "norm_num_groups": (1, 1024),
    **dict.fromkeys(("kernel_size", "conv_in_kernel", "conv_out_kernel", "upsample_kernel_sizes"), (1, 1024)),
    **dict.fromkeys(("resblock_kernel_sizes", "resblock_dilation_sizes", "upsample_rates", "patch_size"), (1, 1024)),
    **dict.fromkeys(("n_fft", "hop_length", "sample_size"), (1, 65_536)),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "relative_attention_num_buckets"), (1, 4_194_304)),
    "relative_attention_max_distance": (1, 1_048_576),
    "refinements": (0, 1000),
    "sampling_rate": (100, 1_000_000),
}
TEXTS = ("_class_name", "act_fn", "model_type", "mid_block_type")
CODE = (  # how a configuration names code that comes with it, or is to be fetched
    *("auto_map", "custom_pipelines", "trust_remote_code", "attn_implementation", "_attn_implementation"),
    *("experts_implementation", "quantization_config"),
)


def check_config(values: Mapping[str, Any], path: Path) -> None:
    """Raises UserError for a value of `path` of the wrong type or out of range, and for code that it names."""
    for key in CODE:
        if values.get(key):
            raise UserError(f"{path} names code of its own (`{key}`), which is never run; only known models are read")
    for key, value in values.items():
        if value is None:
            continue
        if key in RANGES:
            _check_sizes(key, value, path)
        elif key in TEXTS:
            if not isinstance(value, str):
                raise UserError(f"{path}: `{key}` is {quoted(value)}; it must be a name")
        else:
            _check_other(key, value, path)
    blocks = _largest(values, "layers_per_block") * _largest(values, "transformer_layers_per_block")
    levels = values.get("block_out_channels")
    if blocks * (len(levels) if isinstance(levels, list | tuple) else 1) > MOST_BLOCKS:
        raise UserError(f"{path}: levels, `layers_per_block` and `transformer_layers_per_block` make too many blocks")


def _check_sizes(key: str, value: Any, path: Path, depth: int = 0) -> None:
    low, high = RANGES[key]
    if isinstance(value, list | tuple) and depth < 2:
        if not 0 < len(value) <= SIZES:
            raise UserError(f"{path}: `{key}` has {len(value)} entries; 1 to {SIZES} are possible")
        for item in value:
            _check_sizes(key, item, path, depth + 1)
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{path}: `{key}` is {quoted(value)}; it must be a whole number from {low} to {high}")


def _check_other(key: str, value: Any, path: Path, depth: int = 0) -> None:
    if isinstance(value, bool | None):
        return
    if isinstance(value, int | float):
        try:
            fine = math.isfinite(value) and abs(value) <= 1e30
        except OverflowError:
            fine = False
    elif isinstance(value, list | tuple | dict):
        fine = len(value) <= LONGEST and depth < DEEPEST
        for item in value.values() if isinstance(value, dict) else value:
            if fine:
                _check_other(key, item, path, depth + 1)
    else:
        fine = isinstance(value, str) and len(value) <= LONGEST
    if not fine:
        raise UserError(f"{path}: `{key}` is {quoted(value)}, which no model here has")


def _largest(values: Mapping[str, Any], key: str) -> int:
    value = values.get(key)
    while isinstance(value, list | tuple):
        value = max((v for v in value if isinstance(v, int | list | tuple)), key=_size, default=1)
    return value if isinstance(value, int) else 1


def _size(value: Any) -> int:
    return value if isinstance(value, int) else max((_size(v) for v in value), default=0)
