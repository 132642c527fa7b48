"""Parts that diffusers and transformers read: their files are checked first.

On missing keys these libraries fill in random numbers and go on; here every key must be there once, in its shape.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoConfig, AutoModel, T5EncoderModel

from audioldm.vae import VAES
from audioldm.vocoder import VOCODERS
from soundctm.checkpoints.assign import check_keys, shapes
from soundctm.checkpoints.layout import CONFIG, read_json
from soundctm.errors import UserError


def check_vae(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    config = read_json(folder / CONFIG)
    kind = VAES.get(config.get("_class_name", "?"))
    if kind is None:
        raise UserError(f"{folder / CONFIG} names the VAE {config.get('_class_name')}; known are {', '.join(VAES)}")
    _check(folder, lambda: kind.from_config(config))


def check_vocoder(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    config = read_json(folder / CONFIG)
    name = config.get("_class_name") or (config.get("architectures") or ["?"])[0]
    kind = VOCODERS.get(name)
    if kind is None:
        raise UserError(f"{folder / CONFIG} names the vocoder {name}; known are {', '.join(VOCODERS)}")
    if hasattr(kind, "from_config"):
        _check(folder, lambda: kind.from_config(config))
    else:
        _check(folder, lambda: kind(kind.config_class.from_dict(config)))


def check_text_encoder(folder: Path) -> None:
    """Raises UserError when the weights in `folder` are not those that its config.json describes."""
    read_json(folder / CONFIG)

    def make() -> nn.Module:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return T5EncoderModel(config) if config.model_type == "t5" else AutoModel.from_config(config)

    _check(folder, make)


def _check(folder: Path, make: Callable[[], nn.Module]) -> None:
    try:
        with torch.device("meta"):
            module = make()
    except (ValueError, TypeError, KeyError, ImportError, OSError) as error:
        raise UserError(f"{folder / CONFIG} describes no usable model: {error}") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"no weights (*.safetensors) in {folder}")
    given: dict[str, tuple[int, ...]] = {}
    for path in files:
        given |= _shapes_in(path)
    state = module.state_dict(keep_vars=True)
    present = {id(state[key]) for key in given if key in state}
    # of tied tensors, one name in the file is enough
    expected = {key: value for key, value in state.items() if key in given or id(value) not in present}
    check_keys(shapes(expected), given, str(folder))


def _shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file, or it is cut off or damaged: {error}") from error
