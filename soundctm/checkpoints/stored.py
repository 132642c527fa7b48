"""Parts of a checkpoint that are made of library classes: codec and text encoder.

On missing keys the libraries' own loaders fill in random numbers and go on; here every key must be there once, in its
shape, and weights may lie in any form that `soundctm.checkpoints.weight_files` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn

from soundctm.audioldm.vae import VAES
from soundctm.audioldm.vocoder import VOCODERS
from soundctm.checkpoints.assign import build, check_keys, shapes
from soundctm.checkpoints.layout import CONFIG, read_json
from soundctm.checkpoints.limits import check_config
from soundctm.checkpoints.weight_files import read_weights, shapes_in
from soundctm.errors import UserError
from soundctm.text.sources import maker, read_model_config

ModuleT = TypeVar("ModuleT", bound=nn.Module)
# What the libraries raise for values that do not go together.
UNUSABLE = (
    *(ValueError, TypeError, LookupError, ImportError, OSError, ArithmeticError, AttributeError),
    *(RuntimeError, AssertionError, StrictDataclassError),
)


def load_vae(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The VAE in `folder`. Raises UserError when its weights are not those that its config.json describes."""
    config = read_config(folder)
    kind = VAES.get(config.get("_class_name", "?"))
    if kind is None:
        raise UserError(f"{folder / CONFIG} names the VAE {config.get('_class_name')}; known are {', '.join(VAES)}")
    return build(buildable(lambda: kind.from_config(config), folder), read_weights(folder), str(folder), dtype)


def load_vocoder(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The vocoder in `folder`. Raises UserError when its weights are not those that its config.json describes."""
    config = read_config(folder)
    named = config.get("architectures")
    name = config.get("_class_name") or (named[0] if named and isinstance(named, list) else "?")
    kind = VOCODERS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UserError(f"{folder / CONFIG} names the vocoder {str(name)[:80]}; known are {', '.join(VOCODERS)}")

    def make() -> nn.Module:
        return kind.from_config(config) if hasattr(kind, "from_config") else kind(kind.config_class.from_dict(config))

    return build(buildable(make, folder), read_weights(folder), str(folder), dtype)


def check_text_encoder(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    read_config(folder)

    def make() -> nn.Module:
        return maker(read_model_config(folder))()

    given = shapes_in(folder)
    with torch.device("meta"):
        module = buildable(make, folder)()
    state = module.state_dict(keep_vars=True)
    present = {id(state[key]) for key in given if key in state}
    # of tied tensors, one name in the file is enough
    expected = {key: value for key, value in state.items() if key in given or id(value) not in present}
    check_keys(shapes(expected), given, str(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of the part in `folder`, its values in their ranges. Raises UserError."""
    values = read_json(folder / CONFIG)
    check_config(values, folder / CONFIG)
    return values


def buildable(make: Callable[[], ModuleT], folder: Path) -> Callable[[], ModuleT]:
    """`make`, whose failure for values that do not go together becomes a UserError naming the configuration."""

    def made() -> ModuleT:
        try:
            return make()
        except UNUSABLE as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise UserError(f"{folder / CONFIG} describes no usable model: {reason}") from error

    return made
