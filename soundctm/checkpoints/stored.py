"""Parts of a checkpoint that are made of library classes: codec and text encoder.

On missing keys the libraries' own loaders fill in random numbers and go on; here every key must be there once, in its
shape, and weights may lie in any form that `soundctm.checkpoints.weight_files` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from soundctm.audioldm.errors import CodecError
from soundctm.audioldm.parts import UNUSABLE, kind_of
from soundctm.audioldm.parts import make as make_part
from soundctm.audioldm.vae import VAES
from soundctm.audioldm.vocoder import VOCODERS
from soundctm.checkpoints.assign import build, check_keys, shapes
from soundctm.checkpoints.layout import CONFIG, read_json
from soundctm.checkpoints.limits import check_config
from soundctm.checkpoints.weight_files import read_weights, shapes_in
from soundctm.errors import UserError
from soundctm.text.sources import maker, read_model_config, unfilled

ModuleT = TypeVar("ModuleT", bound=nn.Module)

__all__ = ["UNUSABLE", "buildable", "check_text_encoder", "load_vae", "load_vocoder", "read_config", "usable"]


def load_vae(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The VAE in `folder`. Raises UserError when its weights are not those that its config.json describes."""
    return _load(folder, VAES, "VAE", dtype)


def load_vocoder(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The vocoder in `folder`. Raises UserError when its weights are not those that its config.json describes."""
    return _load(folder, VOCODERS, "vocoder", dtype)


def _load(folder: Path, kinds: Mapping[str, type[nn.Module]], what: str, dtype: torch.dtype) -> nn.Module:
    config, path = read_config(folder), folder / CONFIG
    try:
        kind = kind_of(config, kinds, what, path)
    except CodecError as error:
        raise UserError(error) from error
    return build(
        buildable(lambda: make_part(kind, config, path), folder), read_weights(folder, dtype), str(folder), dtype
    )


def check_text_encoder(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    read_config(folder)

    def make() -> nn.Module:
        return unfilled(maker(read_model_config(folder)))

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

    return usable(make, folder / CONFIG)


def usable(make: Callable[[], ModuleT], path: Path) -> Callable[[], ModuleT]:
    """As `buildable`, for the configuration at `path`."""

    def made() -> ModuleT:
        try:
            return make()
        except UNUSABLE as error:
            if isinstance(error, UserError):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise UserError(f"{path} describes no usable model: {reason}") from error

    return made
