"""The files of the official UNet release, read unchanged.

    file                           keys                          goes to
    pytorch_model_2_sigma_025.bin  unet.*, text_encoder.*        teacher UNet, text encoder
    pytorch_model.bin              ctm_unet.*, text_encoder.*    student UNet, text encoder
    ema_0.999_030000.pt            (no prefix)                   EMA of the student UNet
    summary.jsonl                  training options              noise schedule, text encoder's name
    audioldm-s-full.ckpt           first_stage_model.*, ...      codec, see audioldm.checkpoint

The text encoder was frozen, so the copies in the teacher's and the student's file are the same network: the first of
the two files that is given provides it, the other copy is ignored with a line in the log. Keys may carry
what wrappers put there: `module.`, `_orig_mod.`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import T5Config

from soundctm.audioldm.checkpoint import load_audioldm_checkpoint
from soundctm.audioldm.codec import AudioLDMCodec
from soundctm.checkpoints.assign import build, check_finite, check_keys, shapes, split_prefix
from soundctm.checkpoints.components import Components
from soundctm.checkpoints.layout import read_json
from soundctm.checkpoints.limits import check_config, check_network
from soundctm.checkpoints.official.summary import read_summary, schedule_from_summary
from soundctm.checkpoints.official.t5 import build_t5, tie
from soundctm.checkpoints.stored import usable
from soundctm.checkpoints.torch_files import StateDict, read_state_dict, without_wrappers
from soundctm.defaults import Defaults
from soundctm.errors import UserError
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.places import ROOT
from soundctm.text import TextEncoder

log = logging.getLogger(__name__)

FULL_CONFIGS = ROOT / "configs" / "full"
FLAN_T5 = "google/flan-t5-large"

UNET_PREFIXES = {"teacher": "unet.", "student": "ctm_unet."}
TEXT_PREFIX = "text_encoder."

PathLike = str | os.PathLike
ModuleT = TypeVar("ModuleT", bound=nn.Module)
Config = PathLike | Mapping[str, Any]


def load_official(
    *,
    student: PathLike | None = None,
    ema: PathLike | None = None,
    teacher: PathLike | None = None,
    audioldm: PathLike | None = None,
    summary: PathLike | None = None,
    text_encoder_name: str | None = None,
    unet_config: Config = FULL_CONFIGS / "unet.json",
    text_config: Config = FULL_CONFIGS / "text_encoder.json",
    dtype: torch.dtype = torch.float32,
) -> Components:
    """The parts in the given official files; networks and codec in `dtype`, the text encoder in float32.

    The text encoder's weights come from the teacher's or student's file. `text_encoder_name` (else the name in the
    summary, else flan-t5-large) is where its tokenizer is looked for when the first caption comes; without either
    file, a given `text_encoder_name` is loaded whole. `unet_config` and `text_config` are JSON files or mappings.

    Raises UserError for files that cannot be read safely and for keys that are missing, extra or misshapen.
    """
    options = read_summary(summary) if summary else {}
    name = text_encoder_name or options.get("text_encoder_name") or FLAN_T5
    sampling = Defaults().trained_with(options)
    parts = Components(schedule=schedule_from_summary(options), sampling=sampling, training_config=options or None)
    make = _maker_of(unet_config)
    text_states: dict[str, StateDict] = {}
    if teacher:
        state, text_states[str(teacher)] = _unet_and_text(teacher, "teacher")
        parts.teacher = build(make(TeacherUNet), state, str(teacher), dtype)
    if student:
        state, text_states[str(student)] = _unet_and_text(student, "student")
        parts.student = build(make(StudentUNet), state, str(student), dtype)
    if ema:
        parts.ema = build(make(StudentUNet), _read(ema), str(ema), dtype)
    if text_states:
        parts.text_encoder = _text_encoder(text_states, text_config, name)
    elif text_encoder_name:
        parts.text_encoder = TextEncoder.from_pretrained(text_encoder_name)
    if audioldm:
        parts.codec = _codec(audioldm, dtype)
    return parts


def _codec(path: PathLike, dtype: torch.dtype = torch.float32) -> AudioLDMCodec:
    """The codec in `audioldm-s-full.ckpt`. Raises UserError."""
    try:
        codec = load_audioldm_checkpoint(path)
    except ValueError as error:
        raise UserError(str(error)) from error
    check_finite({**codec.state_dict(), "scale_factor": torch.tensor(codec.scale_factor)}, os.fspath(path))
    return codec.to(dtype)


def _read(path: PathLike) -> StateDict:
    state = read_state_dict(path)
    if any(key.startswith("dit.") for key in state):
        beside = "its autoencoder and its z_stats.pth (--stage1_path, --load_mean_std_state_path)"
        raise UserError(f"{path} holds SoundCTM-DiT, not the UNet; it is read together with {beside}")
    return state


def _unet_and_text(path: PathLike, role: str) -> tuple[StateDict, StateDict]:
    prefix = UNET_PREFIXES[role]
    (unet, text), rest = split_prefix(_read(path), prefix, TEXT_PREFIX)
    unet, text = without_wrappers(unet, path), without_wrappers(text, path)  # each may have had a wrapper of its own
    if not unet:
        raise UserError(f"{path} is no {role} file: it has no keys that begin with {prefix!r}")
    return {**unet, **rest}, text  # keys under neither prefix are reported as not expected


def _text_encoder(states: Mapping[str, StateDict], config: Config, name: str) -> TextEncoder:
    (source, state), *others = states.items()
    model = usable(lambda: build_t5(T5Config(**_json_config(config)), state, source), _source(config))()
    for other, ignored in others:
        check_keys(shapes(model.state_dict()), shapes(tie(ignored, other)), other)
        reason = f"the same frozen text encoder was read from {source}"
        log.info("%s: ignored %d keys %s*: %s", other, len(ignored), TEXT_PREFIX, reason)
    return TextEncoder(model, name, name)


def _maker_of(config: Config) -> Callable[[type[ModuleT]], Callable[[], ModuleT]]:
    """What makes a function that makes a network of a class, of `config`. Raises UserError."""
    values, path = _json_config(config), _source(config)

    def make(kind: type[ModuleT]) -> Callable[[], ModuleT]:
        check_network(values, kind, path)
        return usable(lambda: kind.from_config(values), path)

    return make


def _json_config(config: Config) -> dict[str, Any]:
    values = dict(config) if isinstance(config, Mapping) else read_json(Path(config))
    check_config(values, _source(config))
    return values


def _source(config: Config) -> Path:
    return Path("configuration") if isinstance(config, Mapping) else Path(config)
