"""CLAP as the files of SoundCTM-DiT carry it: 630k-audioset-best, both branches, below `text_encoder.model.`.

Captions need the text branch (RoBERTa) and, in v1, its projection. The rest, CLAP's ears above all, is kept as it is,
so that official files can be written again. A file may lack it, but not half of it.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator, Mapping

import torch
from transformers import ClapTextConfig, ClapTextModelWithProjection

from soundctm.checkpoints.assign import Shapes, build, check_keys, length_of, shapes
from soundctm.checkpoints.torch_files import StateDict
from soundctm.errors import UserError

log = logging.getLogger(__name__)

PREFIX = "text_encoder.model."
POSITIONS = "text_branch.embeddings.position_ids"  # a counter, in files of older versions of transformers
_NAMES = {
    "text_branch.": "text_model.",
    "text_projection.0.": "text_projection.linear1.",
    "text_projection.2.": "text_projection.linear2.",
}
_COUNTERS = ("text_model.embeddings.position_ids", "text_model.embeddings.token_type_ids")  # that only we have

HEAD = 64  # channels of a head of the text branch
WIDTH, MLP, WINDOW = 96, 4, 8  # of HTSAT-tiny, CLAP's ears
DEPTHS, HEADS = (2, 2, 6, 2), (4, 8, 16, 32)
BINS, MELS, CLASSES, GRID = 513, 64, 527, 64  # spectrogram, mel bands, AudioSet, patches on a side


def read_clap(state: StateDict, source: str) -> tuple[ClapTextModelWithProjection, StateDict]:
    """The text branch in float32 and all other tensors of `state`, whose names lack PREFIX.

    Raises UserError for keys that do not fit.
    """
    if not any(key.startswith("text_branch.") for key in state):
        raise UserError(f"{source} holds no CLAP: it has no {PREFIX}text_branch.*")
    made = described_by(state, source)
    with torch.device("meta"):
        expected = shapes(to_official(ClapTextModelWithProjection(made).state_dict()))
    others = {key: value for key, value in state.items() if not key.startswith(tuple(_NAMES))}
    if others:
        expected |= rest_shapes(made.projection_dim)
        log.info(
            "%s: %d keys of CLAP beside its text branch make no sound; they are kept as they are", source, len(others)
        )
    else:
        log.info("%s lacks CLAP's audio branch, which makes no sound: official files cannot be written from it", source)
    given = {key: value for key, value in state.items() if key != POSITIONS}
    check_keys(_prefixed(expected), _prefixed(shapes(given)), source)
    own = {_renamed(key): value for key, value in given.items() if key not in others}
    length = made.max_position_embeddings
    own |= dict(zip(_COUNTERS, (torch.arange(length)[None], torch.zeros(1, length, dtype=torch.long)), strict=True))
    return build(lambda: ClapTextModelWithProjection(made), own, source, torch.float32), others


def to_official(state: Mapping[str, torch.Tensor]) -> StateDict:
    """The official names of our text branch's tensors, without PREFIX."""
    back = {own: official for official, own in _NAMES.items()}
    return {
        next(official + key.removeprefix(own) for own, official in back.items() if key.startswith(own)): value
        for key, value in state.items()
        if key not in _COUNTERS
    }


def rest_shapes(projection: int = 512) -> dict[str, tuple[int, ...]]:
    """What a whole file holds of CLAP beside its text branch, by name."""
    found: dict[str, tuple[int, ...]] = {"logit_scale_a": (), "logit_scale_t": ()}
    for name, shape in _ears():
        found[f"audio_branch.{name}"] = shape
    for name in ("text_transform.sequential.0", "text_transform.sequential.3"):
        for mirrored in (name, name.replace("text", "audio")):
            found |= dict(_linear(mirrored, projection, projection))
    found |= dict(_linear("audio_projection.0", WIDTH * 8, projection))
    found |= dict(_linear("audio_projection.2", projection, projection))
    return found


def _ears() -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("real", "imag"):
        yield f"spectrogram_extractor.stft.conv_{part}.weight", (BINS, 1, 2 * (BINS - 1))
    yield "logmel_extractor.melW", (BINS, MELS)
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"bn0.{name}", (MELS,)
    yield "bn0.num_batches_tracked", ()
    yield "patch_embed.proj.weight", (WIDTH, 1, 4, 4)
    yield "patch_embed.proj.bias", (WIDTH,)
    yield from _norm("patch_embed.norm", WIDTH)
    for stage, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        width, side = WIDTH * 2**stage, GRID // 2**stage
        for block in range(depth):
            yield from _block(f"layers.{stage}.blocks.{block}", width, heads)
            if block % 2 and side > WINDOW:  # windows that are shifted know what they must not see
                yield f"layers.{stage}.blocks.{block}.attn_mask", ((side // WINDOW) ** 2, WINDOW**2, WINDOW**2)
        if stage + 1 < len(DEPTHS):
            yield f"layers.{stage}.downsample.reduction.weight", (2 * width, 4 * width)
            yield from _norm(f"layers.{stage}.downsample.norm", 4 * width)
    yield from _norm("norm", width)
    yield "tscam_conv.weight", (CLASSES, width, 2, 3)
    yield "tscam_conv.bias", (CLASSES,)
    yield from _linear("head", CLASSES, CLASSES)


def _block(name: str, width: int, heads: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for norm in ("norm1", "norm2"):
        yield from _norm(f"{name}.{norm}", width)
    yield f"{name}.attn.relative_position_bias_table", ((2 * WINDOW - 1) ** 2, heads)
    yield f"{name}.attn.relative_position_index", (WINDOW**2, WINDOW**2)
    yield from _linear(f"{name}.attn.qkv", width, 3 * width)
    yield from _linear(f"{name}.attn.proj", width, width)
    yield from _linear(f"{name}.mlp.fc1", width, MLP * width)
    yield from _linear(f"{name}.mlp.fc2", MLP * width, width)


def _linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def described_by(state: StateDict, source: str) -> ClapTextConfig:
    """The text branch's configuration as the shapes of its weights tell it. Raises UserError."""
    numbers = [int(found[1]) for key in state if (found := re.match(r"text_branch\.encoder\.layer\.(\d+)\.", key))]
    size = functools.partial(length_of, state, source=source, prefix=PREFIX)
    words = "text_branch.embeddings.word_embeddings.weight"
    width = size(words, axis=1)
    if width % HEAD:
        raise UserError(f"{source} describes no CLAP: the width {width} of its text branch is no multiple of {HEAD}")
    return ClapTextConfig(
        vocab_size=size(words),
        hidden_size=width,
        num_hidden_layers=len(set(numbers)),
        num_attention_heads=width // HEAD,
        intermediate_size=size("text_branch.encoder.layer.0.intermediate.dense.bias"),
        max_position_embeddings=size("text_branch.embeddings.position_embeddings.weight"),
        projection_dim=size("text_projection.0.bias"),
        layer_norm_eps=1e-5,
    )


def _renamed(key: str) -> str:
    return next(own + key.removeprefix(official) for official, own in _NAMES.items() if key.startswith(official))


def _prefixed(given: Shapes) -> Shapes:
    return {PREFIX + key: shape for key, shape in given.items()}
