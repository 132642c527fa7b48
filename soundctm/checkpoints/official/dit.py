"""The files of the official SoundCTM-DiT release, read unchanged.

    file                        keys                                        goes to
    ac_v2_ema_0999_030000.pt    dit.*, text_encoder.model.*                 EMA of the student, CLAP's text branch
    a student's, a teacher's    the same; dit.to_global_embed.* besides     student, teacher
    weights.pth, z_stats.pth    see `official.autoencoder`                  codec
    ac_v2_summary.jsonl         training options                            noise schedule, range of omega

Sizes come from the shapes, and so does the version: a network whose text has the width of RoBERTa takes pooled vectors
(v2), one whose text has that of CLAP's projection takes projected ones (v1). All files carry the same frozen CLAP: the
first that is given provides it. A file may be nested under "module", as DeepSpeed writes it.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import ClapTextModelWithProjection

from soundctm.checkpoints.assign import build, check_keys, length_of, shapes, split_prefix
from soundctm.checkpoints.components import Components
from soundctm.checkpoints.official import clap
from soundctm.checkpoints.official.autoencoder import load_autoencoder
from soundctm.checkpoints.official.dit_keys import BUFFERS, UNUSED, from_official, inverse_frequencies, to_official
from soundctm.checkpoints.official.summary import read_summary, schedule_from_summary
from soundctm.checkpoints.torch_files import StateDict, flat_state, listing, read_torch_file
from soundctm.defaults import OFFICIAL_DIT
from soundctm.errors import UserError
from soundctm.networks.dit import StudentDiT, TeacherDiT
from soundctm.text.clap import ClapTextEncoder

log = logging.getLogger(__name__)

PathLike = str | os.PathLike
PREFIX = "dit."
TOKENIZER = "roberta-base"
HEAD = 64  # channels of a head
SIGMA_DATA = 0.5


def load_official_dit(
    *,
    student: PathLike | None = None,
    ema: PathLike | None = None,
    teacher: PathLike | None = None,
    autoencoder: PathLike | None = None,
    z_stats: PathLike | None = None,
    summary: PathLike | None = None,
    text_encoder_name: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Components:
    """The parts in the given official files; networks and codec in `dtype`, the text encoder in float32.

    `text_encoder_name` (else roberta-base) is where the tokenizer is looked for when the first caption comes.

    Raises UserError for files that cannot be read safely and for keys that are missing, extra or misshapen.
    """
    if (autoencoder is None) != (z_stats is None):
        raise UserError("the autoencoder's weights.pth and the statistics of its latents, z_stats.pth, belong together")
    options = read_summary(summary) if summary else {}
    parts = Components(
        schedule=schedule_from_summary(options, SIGMA_DATA),
        sampling=OFFICIAL_DIT.trained_with(options),
        training_config=options or None,
    )
    for role, path in (("ema", ema), ("student", student), ("teacher", teacher)):
        if path is None:
            continue
        (network, text), rest = split_prefix(read_model(path), PREFIX, clap.PREFIX)
        if rest or not network:
            found = listing(list(rest)) or "nothing"
            raise UserError(f"{path} is no file of SoundCTM-DiT: beside {PREFIX}* and {clap.PREFIX}* it has {found}")
        setattr(parts, role, read_network(network, role, str(path), dtype))
        encoder = _text_encoder(text, str(path), getattr(parts, role), text_encoder_name or TOKENIZER)
        parts.text_encoder = _same(parts.text_encoder, encoder, str(path))
    if autoencoder is not None:
        parts.codec = load_autoencoder(Path(autoencoder), Path(z_stats)).in_dtype(dtype)
    return parts


def holds_transformer(path: PathLike) -> bool:
    """Whether the file at `path` is one of SoundCTM-DiT's models. Raises UserError for a file that cannot be read."""
    return any(key.startswith(PREFIX) for key in read_model(path))


def read_model(path: PathLike) -> StateDict:
    """The tensors of a model's file by name. Raises UserError."""
    content = read_torch_file(Path(path))
    if isinstance(content, Mapping) and isinstance(content.get("module"), Mapping):
        content = content["module"]
    return flat_state(content, Path(path))


def read_network(state: StateDict, role: str, source: str, dtype: torch.dtype) -> StudentDiT | TeacherDiT:
    """The network of official tensors without PREFIX. Raises UserError for what does not fit."""
    kind = TeacherDiT if role == "teacher" else StudentDiT
    config = described_by(state, source)
    with torch.device("meta"):
        expected = shapes(to_official(kind.from_config(config).state_dict()))
    unused = [key for key in state if kind is TeacherDiT and UNUSED.search(key)]
    given = {key: value for key, value in state.items() if key not in unused}
    prefixed = ({PREFIX + key: shape for key, shape in some.items()} for some in (expected, shapes(given)))
    check_keys(*prefixed, source)
    _check_buffers(given, source)
    if unused:
        log.info("%s: %s are not read: the official forward pass never uses them", source, listing(unused))
    return build(lambda: kind.from_config(config), from_official(given), source, dtype)


def described_by(state: Mapping[str, torch.Tensor], source: str) -> dict[str, Any]:
    """The network's configuration as the shapes of its weights tell it. Raises UserError."""
    numbers = [int(found[1]) for key in state if (found := re.match(r"transformer\.layers\.(\d+)\.", key))]
    size = functools.partial(length_of, state, source=source, prefix=PREFIX)
    width, channels = (size("transformer.project_in.weight", axis=axis) for axis in (0, 1))
    text, features = size("to_cond_embed.0.weight"), 2 * size("timestep_features.weight")
    if width % HEAD or text % HEAD or not numbers:
        raise UserError(f"{source} describes no transformer: widths {width} and {text} are no multiples of {HEAD}")
    return {
        "in_channels": channels,
        "num_layers": len(set(numbers)),
        "num_attention_heads": width // HEAD,
        "num_key_value_attention_heads": text // HEAD,
        "cross_attention_dim": text,
        "cross_attention_input_dim": text,
        "time_proj_dim": features,
    }


def _check_buffers(state: StateDict, source: str) -> None:
    """Raises UserError for buffers that the network here does not have and that are not what it computes."""
    for key, value in state.items():
        if not BUFFERS.search(key):
            continue
        expected = inverse_frequencies(2 * len(value)) if key.endswith("inv_freq") else torch.zeros_like(value)
        if not torch.allclose(value.float(), expected.float(), rtol=1e-2, atol=1e-6):  # the file may be float16
            what = "10000^(-2 i / n)" if key.endswith("inv_freq") else "zeros"
            raise UserError(f"{source}: {PREFIX}{key} must be {what}, as in every released file")


def _text_encoder(state: StateDict, source: str, network: StudentDiT | TeacherDiT, name: str) -> ClapTextEncoder:
    model, rest = clap.read_clap(state, source)
    width = network.config.cross_attention_input_dim
    widths = {"pooled": model.config.hidden_size, "projected": model.config.projection_dim}
    form = next((form for form, own in widths.items() if own == width), None)
    if form is None:
        raise UserError(f"{source}: the transformer's text has {width} channels, but CLAP gives {widths}")
    return ClapTextEncoder(model, name, name, form, rest=rest or None)


def _same(first: ClapTextEncoder | None, other: ClapTextEncoder, source: str) -> ClapTextEncoder:
    """The encoder of the first file; another one that differs makes other vectors, which is no mixture to allow."""
    if first is None:
        return other
    if first.form != other.form or not _equal(first.model, other.model):
        raise UserError(f"{source} carries another CLAP than the file before it; its network needs that one")
    log.info("%s: its CLAP is the one of the file before it, and not kept twice", source)
    return first


def _equal(first: ClapTextModelWithProjection, other: ClapTextModelWithProjection) -> bool:
    others = other.state_dict()
    return all(torch.equal(value, others[key]) for key, value in first.state_dict().items())
