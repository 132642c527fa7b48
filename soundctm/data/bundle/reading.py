"""Reading a bundle: its items as a data set of latents, its captions as something that encodes them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn.functional import pad

from soundctm.data.bundle.numbers import Numbers
from soundctm.errors import UserError
from soundctm.files.tensors import open_tensors
from soundctm.text.conditioning import TextConditioning

logger = logging.getLogger(__name__)

FORMAT, VERSION = "soundctm-bundle", 1
LENGTHS = 16  # tokens to a multiple of which captions are padded
NO_VARIANCE = -30.0  # log-variance of a posterior that is a point


@dataclass(frozen=True)
class BundledLatents:
    """`data[i] -> (mean, logvar, caption)`, float32 [C, ...]: a part of a bundle, in memory."""

    mean: Numbers
    logvar: Tensor | None  # float16 [N, C, ...]; None: the posterior is a point
    texts: Sequence[str]  # the different captions
    caption: Tensor  # int32 [N], which of them
    scale_factor: float

    @property
    def shape(self) -> tuple[int, ...]:
        """[C, ...] of one item."""
        return tuple(self.mean.values.shape[1:])

    @property
    def captions(self) -> list[str]:
        """Caption of every item."""
        return [self.texts[number] for number in self.caption.tolist()]

    def __len__(self) -> int:
        return len(self.caption)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        mean = self.mean[index]
        logvar = torch.full_like(mean, NO_VARIANCE) if self.logvar is None else self.logvar[index].float()
        return mean, logvar, self.texts[int(self.caption[index])]

    def first(self, count: int) -> BundledLatents:
        """The first `count` items."""
        logvar = None if self.logvar is None else self.logvar[:count]
        return BundledLatents(self.mean.first(count), logvar, self.texts, self.caption[:count], self.scale_factor)


class BundledTexts:
    """`encode` as a text encoder's, for the captions of a bundle and the empty prompt."""

    def __init__(self, rows: Numbers, captions: Sequence[str], states: Sequence[int], lengths: Sequence[int]) -> None:
        """Caption i has the hidden state number `states[i]`; the states lie in `rows`, of `lengths` tokens."""
        ends = torch.tensor(lengths).cumsum(0).tolist()
        self._places = [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
        self._state = dict(zip(captions, states, strict=True))
        self._rows = rows
        self.one_token = max(lengths) == 1  # every caption is a single vector

    @property
    def dim(self) -> int:
        """Width D of the hidden states."""
        return self._rows.values.shape[1:].numel()

    def encode(self, captions: Sequence[str]) -> TextConditioning:
        """Hidden states [B, L, D] of `captions`, float32 on the CPU. Raises UserError for one that is not there."""
        unknown = next((caption for caption in captions if caption not in self._state), None)
        if unknown is not None:
            raise UserError(f"the bundle holds no hidden states of the caption {unknown!r}, and there is no encoder")
        rows = [self._rows[slice(*self._places[self._state[caption]])].flatten(1) for caption in captions]
        # lengths in large steps, because a compiled network is compiled for each
        length = 1 if self.one_token else -(-max(len(row) for row in rows) // LENGTHS) * LENGTHS
        mask = torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]
        return TextConditioning(torch.stack([pad(row, (0, 0, 0, length - len(row))) for row in rows]), mask)


@dataclass(frozen=True)
class Bundle:
    """What a training needs, and what it was made with."""

    train: BundledLatents
    held_out: BundledLatents
    texts: BundledTexts
    identity: dict[str, str]  # weights of VAE and text encoder
    header: Mapping[str, Any]


def read_bundle(path: str | os.PathLike) -> Bundle:
    """The bundle at `path`. Raises UserError, naming the file, when it is absent, damaged or no bundle."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no bundle at {path}; python -m soundctm.data.bundle make makes one")
    try:
        with open_tensors(path) as file:
            header = json.loads((file.metadata() or {}).get("bundle", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no safetensors file, or it is cut off or damaged: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{path} is not a training bundle; python -m soundctm.data.bundle make makes one")
    if header.get("version") != VERSION:
        raise UserError(f"{path} is a bundle of version {header.get('version')}; this code reads version {VERSION}")
    try:
        bundle = _bundle(header, tensors)
    except (UserError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        what = f"its header lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path} is a damaged bundle: {what}") from error
    count, held_out = len(bundle.train), len(bundle.held_out)
    logger.info("%s: %d items and %d held out, %d captions", path, count, held_out, len(header["captions"]))
    return bundle


def _check_header(header: Mapping[str, Any]) -> None:
    kinds = {"captions": str, "states": int, "lengths": int, "latent_shape": int}
    for name, kind in kinds.items():
        values = header[name]
        if not isinstance(values, list) or not all(type(value) is kind for value in values):
            raise UserError(f"its {name} are no list of {'texts' if kind is str else 'whole numbers'}")
    scale = header["scale_factor"]
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1e-6 <= scale <= 1e6:
        raise UserError("its scale_factor must be a number from 1e-6 to 1e6")


def _bundle(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Bundle:
    captions, states, lengths = header["captions"], header["states"], header["lengths"]
    _check_header(header)
    rows = Numbers.from_tensors(tensors, "text.rows", 3)
    if sum(lengths) != len(rows) or min(lengths, default=0) < 1:
        raise UserError("the lengths of its captions do not add up")
    if not all(0 <= state < len(lengths) for state in states) or "" not in captions:
        raise UserError("captions have no hidden states")
    shape = tuple(header["latent_shape"])

    def part(name: str) -> BundledLatents:
        mean, caption = Numbers.from_tensors(tensors, f"{name}.mean", len(shape) + 1), tensors[f"{name}.caption"]
        logvar = tensors.get(f"{name}.logvar")
        if tuple(mean.values.shape[1:]) != shape or any(
            len(mean) != len(x) for x in (caption, logvar) if x is not None
        ):
            raise UserError(f"{name}.mean is {tuple(mean.values.shape)}, which does not fit its header or captions")
        if caption.ndim != 1 or caption.dtype not in (torch.int32, torch.int64):
            raise UserError(f"{name}.caption is no list of whole numbers")
        if logvar is not None and logvar.shape != mean.values.shape:
            raise UserError(f"{name}.logvar is of another shape than {name}.mean")
        if len(caption) and not 0 <= int(caption.min()) <= int(caption.max()) < len(captions):
            raise UserError(f"{name}.caption names captions that are not there")
        return BundledLatents(mean, logvar, captions, caption, float(header["scale_factor"]))

    identity = {str(name): str(value) for name, value in header["identity"].items()}
    texts = BundledTexts(rows, captions, states, lengths)
    return Bundle(part("train"), part("held_out"), texts, identity, header)
