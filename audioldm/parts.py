"""Parts of a saved codec: a folder with `config.json` and, as safetensors, the weights.

The libraries' own loaders believe the configuration, a billion layers of which would be made one after the other, and
fill in random numbers where weights are missing. Here types and ranges are looked at before anything is built, and
every weight must be there once, in its shape, and finite.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn

from .errors import CodecError

CONFIG = "config.json"
WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
MOST_BYTES = 2**20  # of a configuration
LONGEST = 4096  # characters of a text, entries of a list or table that no range is known for
SIZES = 16  # entries of a list of sizes (one per level, say)
DEEPEST = 8
ALIGNMENT = 64  # bytes, of torch's allocator on a CPU

# whole numbers, or lists of them, far beyond any codec that is of use here
RANGES: dict[str, tuple[int, int]] = {
    "layers_per_block": (1, 64),
    "layers": (0, 256),
    **dict.fromkeys(("in_channels", "out_channels", "latent_channels", "model_in_dim", "n_mels"), (1, 4096)),
    **dict.fromkeys(("channels", "hidden", "upsample_initial_channel"), (1, 131_072)),
    "block_out_channels": (4, 16_384),
    "norm_num_groups": (1, 1024),
    **dict.fromkeys(("kernel_size", "upsample_rates", "upsample_kernel_sizes", "patch_size"), (1, 1024)),
    **dict.fromkeys(("resblock_kernel_sizes", "resblock_dilation_sizes"), (1, 1024)),
    **dict.fromkeys(("n_fft", "hop_length", "sample_size"), (1, 65_536)),
    "refinements": (0, 1000),
    "sampling_rate": (100, 1_000_000),
}
FRACTIONS = ("freq_shift", "mid_block_scale_factor")  # whole numbers by default, which need not be
PER_LEVEL = (  # of which there may be one for each level
    *("layers_per_block", "transformer_layers_per_block", "attention_head_dim", "cross_attention_dim"),
)
TEXTS = ("_class_name", "act_fn", "model_type")
CODE = (  # how a configuration names code that comes with it, or is to be fetched
    *("auto_map", "custom_pipelines", "trust_remote_code", "attn_implementation", "_attn_implementation"),
    *("experts_implementation", "quantization_config"),
)
# What the libraries raise for values that do not go together.
UNUSABLE = (
    *(ValueError, TypeError, LookupError, ImportError, OSError, ArithmeticError, AttributeError),
    *(RuntimeError, AssertionError, StrictDataclassError, SafetensorError),
)


def read_config(folder: Path) -> dict[str, Any]:
    """The JSON object in the `config.json` of a part, not yet looked at. Raises CodecError."""
    path = folder / CONFIG
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise CodecError(f"it is longer than {MOST_BYTES} bytes")
        values = json.loads(content.decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise CodecError(f"{path} cannot be used: {error}") from error
    if not isinstance(values, dict):
        raise CodecError(f"{path} must hold a JSON object")
    return values


def check_values(
    values: Mapping[str, Any],
    path: Path,
    ranges: Mapping[str, tuple[int, int]] = RANGES,
    texts: tuple[str, ...] = TEXTS,
) -> None:
    """Raises CodecError for a value of `path` of the wrong type or out of range, and for code that it names."""
    for key in CODE:
        if values.get(key):
            raise CodecError(f"{path} names code of its own (`{key}`), which is never run; only known models are read")
    for key, value in values.items():
        if value is None:
            continue
        if key in ranges:
            _check_sizes(key, value, path, ranges[key])
        elif key in texts:
            if not isinstance(value, str):
                raise CodecError(f"{path}: `{key}` is {shown(value)}; it must be a name")
        else:
            _check_other(key, value, path)


def check_kinds(values: Mapping[str, Any], kind: Any, path: Path) -> None:
    """Raises CodecError where the class `kind` has a number, text or switch as default, and `values` something else.

    The libraries look at some of them when a sound is made, and not before.
    """
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        usual, value = parameter.default, values.get(name, parameter.default)
        if isinstance(usual, bool):
            fine, wanted = isinstance(value, bool), "true or false"
        elif isinstance(usual, float) or name in FRACTIONS:
            fine, wanted = _is_number(value), "a number"
        elif isinstance(usual, int):
            kinds = int | list | tuple if name in PER_LEVEL else int
            fine, wanted = isinstance(value, kinds) and not isinstance(value, bool), "a whole number"
        elif isinstance(usual, str):
            fine, wanted = isinstance(value, str), "a name"
        else:
            continue
        if not fine:
            raise CodecError(f"{path}: `{name}` is {shown(value)}; it must be {wanted}")


def load_part(folder: Path, kinds: Mapping[str, Any], what: str, dtype: torch.dtype) -> nn.Module:
    """The module saved in `folder`, in eval mode; its config.json says which of `kinds` (`what` in words).

    Raises CodecError for another class, values that describe none, and weights that are not those of such a module.
    """
    config, path = read_config(folder), folder / CONFIG
    check_values(config, path)
    kind = kind_of(config, kinds, what, path)
    try:
        with torch.device("meta"):
            module = make(kind, config, path)
    except UNUSABLE as error:
        raise CodecError(f"{path} describes no usable {what}: {error}") from error
    state = _read_weights(folder, module.state_dict())
    module.load_state_dict({key: _aligned(_cast(value, dtype)) for key, value in state.items()}, assign=True)
    return module.eval()


def kind_of(config: Mapping[str, Any], kinds: Mapping[str, Any], what: str, path: Path) -> Any:
    """The class of `kinds` that a configuration names. Raises CodecError."""
    named = config.get("architectures")
    name = config.get("_class_name") or (named[0] if named and isinstance(named, list) else None)
    if not isinstance(name, str) or name not in kinds:
        raise CodecError(f"{path} names the {what} {str(name)[:80]}; known are {', '.join(kinds)}")
    return kinds[name]


def make(kind: Any, config: Mapping[str, Any], path: Path) -> nn.Module:
    """A module of the class `kind`, of diffusers or transformers. Raises CodecError and UNUSABLE."""
    if not hasattr(kind, "from_config"):
        return kind(kind.config_class.from_dict(dict(config)))
    check_kinds(config, kind, path)
    return kind.from_config(config)


def shown(value: Any) -> str:
    """A value as a message has it."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _read_weights(folder: Path, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    expected = {key: tuple(value.shape) for key, value in own.items()}
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), folder / WEIGHTS[0])
    try:
        with safe_open(path, "pt") as file:
            given = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            wrong = sorted(key for key in expected.keys() | given.keys() if expected.get(key) != given.get(key))
            if wrong:
                rest = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
                raise CodecError(f"it lacks, or has of another shape, or beside them: {', '.join(wrong[:3])}{rest}")
            state = {key: file.get_tensor(key) for key in given}
    except UNUSABLE as error:
        raise CodecError(f"{path} does not hold the weights of this model: {error}") from error
    whole = [key for key, value in state.items() if value.is_floating_point() != own[key].is_floating_point()]
    if whole:
        raise CodecError(f"{path} has numbers of another kind, {state[whole[0]].dtype}, for {whole[0]}")
    endless = [key for key, value in state.items() if not value.sum(dtype=torch.float64).isfinite()]
    if endless:
        raise CodecError(f"{path} has weights that are NaN or infinite ({endless[0]}); take an intact copy")
    return state


def _cast(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def _aligned(value: torch.Tensor) -> torch.Tensor:
    """A copy if it does not begin where torch would have put it: equal weights shall give equal bits."""
    return value.clone() if value.data_ptr() % ALIGNMENT else value


def _check_sizes(key: str, value: Any, path: Path, bounds: tuple[int, int], depth: int = 0) -> None:
    low, high = bounds
    if isinstance(value, list | tuple) and depth < 2:
        if not 0 < len(value) <= SIZES:
            raise CodecError(f"{path}: `{key}` has {len(value)} entries; 1 to {SIZES} are possible")
        for item in value:
            _check_sizes(key, item, path, bounds, depth + 1)
        return
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise CodecError(f"{path}: `{key}` is {shown(value)}; it must be a whole number from {low} to {high}")


def _check_other(key: str, value: Any, path: Path, depth: int = 0) -> None:
    if isinstance(value, bool | None):
        return
    if isinstance(value, int | float):
        fine = _is_number(value) and abs(value) <= 1e30
    elif isinstance(value, list | tuple | dict):
        fine = len(value) <= LONGEST and depth < DEEPEST
        for item in value.values() if isinstance(value, dict) else value:
            if fine:
                _check_other(key, item, path, depth + 1)
    else:
        fine = isinstance(value, str) and len(value) <= LONGEST
    if not fine:
        raise CodecError(f"{path}: `{key}` is {shown(value)}, which no model here has")


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False
