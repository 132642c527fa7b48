"""Writing our own checkpoint folder (see soundctm.checkpoints.layout): whole or absent."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from soundctm.checkpoints.components import NETWORKS, Components
from soundctm.checkpoints.eight_bit import pack
from soundctm.checkpoints.layout import CARD, CODEC, INDEX, TEXT_ENCODER, TRAINING_CONFIG, WEIGHTS, Index
from soundctm.checkpoints.torch_files import listing
from soundctm.defaults import Defaults
from soundctm.errors import UserError
from soundctm.files import sweep, whole_folder
from soundctm.networks import Network


def save_checkpoint(
    folder: str | os.PathLike,
    parts: Components,
    *,
    dtype: torch.dtype | Mapping[str, torch.dtype] | None = None,
    store_text_encoder: bool | None = None,
    model_card: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `parts` as a checkpoint folder, under a temporary name that is renamed at the end.

    `dtype` is the precision of networks and codec on disk (default: theirs), one for all or by part ("teacher", ...);
    int8 is for networks (soundctm.checkpoints.eight_bit). With `store_text_encoder` (default: where they came with the
    checkpoint) the text encoder's weights are written too, else only its name; those of CLAP's text branch always are,
    unless it is a hub's. Raises UserError when `folder` is in the way; `overwrite` replaces an older checkpoint, never
    a folder of anything else.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; a checkpoint is a folder")
    if folder.exists() and any(folder.iterdir()) and not (overwrite and (folder / INDEX).is_file()):
        raise UserError(f"{folder} is not empty" + (": overwrite replaces it" if (folder / INDEX).is_file() else ""))
    sweep(folder.parent)
    with whole_folder(folder, replace=True) as temporary:
        stored = parts.text_stored if store_text_encoder is None else store_text_encoder
        _write(temporary, parts, dtype, stored)
        if model_card is not None:
            (temporary / CARD).write_text(model_card, encoding="utf-8")
    return folder


def save_network(folder: str | os.PathLike, network: Network, dtype: torch.dtype | None = None) -> None:
    """Write one network as diffusers does, in `dtype` on disk; the network itself keeps its precision.

    Raises UserError for weights that are not finite, or not in `dtype`.
    """
    folder = Path(folder)
    state = network.state_dict()
    if dtype == torch.int8:
        tensors = {name: value.contiguous() for name, value in pack({k: v.cpu() for k, v in state.items()}).items()}
    else:
        tensors = {name: value.to("cpu", dtype).contiguous() for name, value in state.items()}
    broken = [name for name, value in tensors.items() if not value.isfinite().all()]
    if broken:
        raise UserError(f"not saved to {folder}: {listing(broken)} would not be finite as {dtype or network.dtype}")
    network.save_config(folder)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def _write(
    folder: Path,
    parts: Components,
    dtype: torch.dtype | Mapping[str, torch.dtype] | None,
    store_text_encoder: bool,
) -> None:
    names = []
    given = dtype if isinstance(dtype, Mapping) else dict.fromkeys((*NETWORKS, CODEC), dtype)
    for name, network in parts.networks():
        save_network(folder / name, network, given.get(name))
        names.append(name)
    if parts.codec is not None:
        # a copy, because the codec is converted in place for writing and would come back rounded
        copy.deepcopy(parts.codec).save_pretrained(folder / CODEC, given.get(CODEC))
        names.append(CODEC)
    if parts.text_encoder is not None and (store_text_encoder or parts.text_encoder.stored):
        parts.text_encoder.save_pretrained(folder / TEXT_ENCODER)
        names.append(TEXT_ENCODER)
    if parts.training_config is not None:
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in parts.training_config.items()}
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        (folder / TRAINING_CONFIG).write_text(text, encoding="utf-8")
    text_encoder = parts.text_encoder.name if parts.text_encoder is not None else None
    Index(tuple(names), parts.schedule, text_encoder, _sampling(parts)).write(folder)


def _sampling(parts: Components) -> Defaults:
    """The defaults with what the other parts know of them."""
    sampling = parts.sampling.trained_with(parts.training_config)
    if parts.codec is None or sampling.seconds is not None:
        return sampling
    return dataclasses.replace(sampling, seconds=parts.codec.default_seconds, sampling_rate=parts.codec.sampling_rate)
