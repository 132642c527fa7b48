"""Reading our own checkpoint folder (see soundctm.checkpoints.layout) from disk or from a model hub."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from soundctm.audioldm.codec import AudioLDMCodec
from soundctm.audioldm.errors import CodecError
from soundctm.checkpoints.assign import build, check_finite
from soundctm.checkpoints.components import NETWORKS, Components
from soundctm.checkpoints.eight_bit import unpack
from soundctm.checkpoints.layout import (
    CARD,
    CODEC,
    CONFIG,
    INDEX,
    TEXT_ENCODER,
    TRAINING_CONFIG,
    Index,
    read_defaults,
    read_training_config,
)
from soundctm.checkpoints.limits import check_network
from soundctm.checkpoints.stored import UNUSABLE, buildable, check_text_encoder, load_vae, load_vocoder, read_config
from soundctm.checkpoints.weight_files import read_weights
from soundctm.codecs import Codec
from soundctm.errors import UserError
from soundctm.files.reading import read_text
from soundctm.networks import Network, backbone
from soundctm.places import shipped
from soundctm.text import TextEncoder

log = logging.getLogger(__name__)

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "spiece.model", "vocab.txt", "vocab.json")


def load_checkpoint(
    path: str | os.PathLike,
    weights: str | Sequence[str] = "ema",
    *,
    dtype: torch.dtype = torch.float32,
    text_encoder: TextEncoder | None = None,
    hub: Mapping[str, Any] | None = None,
) -> Components:
    """The checkpoint in a folder or under a hub id, with only the networks that `weights` names.

    Networks and codec are in `dtype`; the text encoder stays float32, because it runs once per caption and T5
    overflows in float16. A given `text_encoder` replaces the checkpoint's own. `hub`: revision, cache_dir, token and
    local_files_only of a hub id. Raises UserError for a folder that is no checkpoint, for weights it does not have, and
    for keys that are missing, extra or misshapen.
    """
    names = [weights] if isinstance(weights, str) else list(weights)
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise UserError(f"no weights {unknown[0]!r}; they are {', '.join(NETWORKS)}")
    folder = local_folder(path, names, hub)
    index = Index.read(folder)
    absent = [name for name in names if name not in index.parts]
    if absent:
        raise UserError(f"{path} has no {absent[0]!r} weights; its parts are {', '.join(index.parts)}")
    parts = Components(
        schedule=index.schedule,
        sampling=read_defaults(folder),
        training_config=read_training_config(folder),
        text_stored=TEXT_ENCODER in index.parts,
        card=read_text(folder / CARD) if (folder / CARD).is_file() else None,
    )
    for name in names:
        setattr(parts, name, load_network(folder / name, name, dtype))
    if CODEC in index.parts:
        parts.codec = load_codec(folder / CODEC, dtype)
    parts.text_encoder = text_encoder or _text_encoder(folder, index)
    return parts


def load_network(folder: str | os.PathLike, role: str, dtype: torch.dtype = torch.float32) -> Network:
    """The network in one subfolder, of the backbone that its config.json names and the class of its `role`.

    `role` is "ema", "student" or "teacher". Raises UserError.
    """
    folder = Path(shipped(folder))
    values = read_config(folder)
    state = unpack(read_weights(folder, dtype))
    kinds = backbone(values, str(folder / CONFIG))
    kind = kinds.teacher if role == "teacher" else kinds.student
    check_network(values, kind, folder / CONFIG)
    return build(buildable(lambda: kind.from_config(values), folder), state, str(folder), dtype)


def load_codec(folder: str | os.PathLike, dtype: torch.dtype = torch.float32) -> Codec:
    """The codec in a folder of its own, of the class that its config.json names (none: the mel codec).

    Raises UserError when it is absent or damaged.
    """
    kind, folder = codec_class(folder), Path(shipped(folder))
    if kind is not AudioLDMCodec:
        values = read_config(folder)
        make = buildable(lambda: kind.from_config(values), folder)
        return build(make, read_weights(folder, torch.float32), str(folder), torch.float32).in_dtype(dtype)
    vae = load_vae(folder / "vae", dtype)
    vocoder = load_vocoder(folder / "vocoder", dtype) if (folder / "vocoder").is_dir() else None
    try:
        return AudioLDMCodec.from_pretrained(folder, parts=(vae, vocoder))
    except UNUSABLE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:1000]
        where = "" if isinstance(error, CodecError) else f"the codec in {folder} cannot be used: "
        raise UserError(where + reason) from error


def codec_class(folder: str | os.PathLike) -> type[Codec]:
    """The class that a codec's folder names in its config.json (none: the mel codec). Raises UserError as above."""
    folder = Path(shipped(folder))
    if not folder.is_dir():
        raise UserError(f"no codec folder at {folder}")
    name = read_config(folder).get("_class_name") or AudioLDMCodec.__name__
    if name == "WaveformCodec":
        from soundctm.codecs.waveform import WaveformCodec  # its libraries take a second

        return WaveformCodec
    if name != AudioLDMCodec.__name__:
        raise UserError(f"{folder / CONFIG} names the codec {name[:80]}; known are AudioLDMCodec, WaveformCodec")
    return AudioLDMCodec


def load_text_encoder(folder: str | os.PathLike) -> TextEncoder:
    """The text encoder of the checkpoint in a folder. Raises UserError where it has none that can be read."""
    folder = Path(shipped(folder))
    encoder = _text_encoder(folder, Index.read(folder))
    if encoder is None:
        raise UserError(f"the checkpoint {folder} has no text encoder, nor names one")
    return encoder


def local_folder(path: str | os.PathLike, networks: Sequence[str], hub: Mapping[str, Any] | None = None) -> Path:
    """`path` itself where it is a folder, else the local copy of that hub id with only these networks' weights.

    `hub` are arguments of huggingface_hub's `snapshot_download`. Raises UserError when it is neither.
    """
    name = shipped(path)
    folder = Path(name)
    if folder.is_dir():
        return folder
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(f"no checkpoint folder at {name}")
    from huggingface_hub import snapshot_download  # only hub ids need it

    subfolders = [*networks, CODEC, TEXT_ENCODER]
    try:
        options = {key: value for key, value in (hub or {}).items() if value is not None}
        wanted = [INDEX, TRAINING_CONFIG, CARD, *(f"{part}/*" for part in subfolders)]
        return Path(snapshot_download(name, allow_patterns=wanted, **options))
    except (OSError, ValueError) as error:
        log.debug("snapshot_download failed for %s", name, exc_info=error)
        raise UserError(f"{name} is neither a checkpoint folder nor a hub repository that can be fetched") from error


def _text_encoder(folder: Path, index: Index) -> TextEncoder | None:
    if TEXT_ENCODER not in index.parts:
        return TextEncoder.from_pretrained(index.text_encoder) if index.text_encoder else None
    stored = folder / TEXT_ENCODER
    check_text_encoder(stored)
    own_tokenizer = any((stored / name).is_file() for name in TOKENIZER_FILES)
    encoder = TextEncoder.from_pretrained(stored, tokenizer=None if own_tokenizer else index.text_encoder)
    check_finite(encoder.model.state_dict(), str(stored))
    encoder.name = index.text_encoder or str(stored)
    return encoder
