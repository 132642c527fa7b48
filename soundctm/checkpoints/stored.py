"""Parts that diffusers and transformers read: their files are checked first.

On missing keys these libraries fill in random numbers and go on; here every key must be there once, in its shape.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoConfig, AutoModel, T5EncoderModel

from soundctm.audioldm.vae import VAES
from soundctm.audioldm.vocoder import VOCODERS
from soundctm.checkpoints.assign import check_keys, shapes
from soundctm.checkpoints.layout import CONFIG, read_json
from soundctm.checkpoints.limits import check_config
from soundctm.checkpoints.weight_files import shapes_in
from soundctm.errors import UserError

ModuleT = TypeVar("ModuleT", bound=nn.Module)
# What the libraries raise for values that do not go together.
UNUSABLE = (
    *(ValueError, TypeError, LookupError, ImportError, OSError, ArithmeticError, AttributeError),
    *(RuntimeError, AssertionError, StrictDataclassError),
)


def check_vae(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    config = read_config(folder)
    kind = VAES.get(config.get("_class_name", "?"))
    if kind is None:
        raise UserError(f"{folder / CONFIG} names the VAE {config.get('_class_name')}; known are {', '.join(VAES)}")
    _check(folder, lambda: kind.from_config(config))


def check_vocoder(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    config = read_config(folder)
    named = config.get("architectures")
    name = config.get("_class_name") or (named[0] if named and isinstance(named, list) else "?")
    kind = VOCODERS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UserError(f"{folder / CONFIG} names the vocoder {str(name)[:80]}; known are {', '.join(VOCODERS)}")
    if hasattr(kind, "from_config"):
        _check(folder, lambda: kind.from_config(config))
    else:
        _check(folder, lambda: kind(kind.config_class.from_dict(config)))


def check_text_encoder(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    read_config(folder)

    def make() -> nn.Module:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if config.model_type == "t5":
            return T5EncoderModel(config)
        return AutoModel.from_config(config, trust_remote_code=False)

    _check(folder, make)


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


def _check(folder: Path, make: Callable[[], nn.Module]) -> None:
    given = shapes_in(folder)
    with torch.device("meta"):
        module = buildable(make, folder)()
    state = module.state_dict(keep_vars=True)
    present = {id(state[key]) for key in given if key in state}
    # of tied tensors, one name in the file is enough
    expected = {key: value for key, value in state.items() if key in given or id(value) not in present}
    check_keys(shapes(expected), given, str(folder))
