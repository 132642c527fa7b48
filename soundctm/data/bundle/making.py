"""Making a bundle from what a training would be made from: sounds, a codec and a text encoder."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import save
from torch import Tensor

from soundctm.config import option
from soundctm.data.bundle.numbers import PRECISIONS, Numbers
from soundctm.data.bundle.reading import FORMAT, VERSION
from soundctm.errors import UserError
from soundctm.files import write_whole
from soundctm.text import TextEncoder
from soundctm.training.inputs.batches import Latents
from soundctm.training.inputs.source import Opened, SourceConfig, open_sounds

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
BLOCK = 32  # numbers of a hidden state with a step of their own: an encoder has a few that are far above the others
POINT = -20.0  # a posterior whose log-variances are all below is stored as its mean
SPARE = 4096  # bytes for the names of the file's tensors


@dataclass(frozen=True)
class BundleConfig(SourceConfig):
    """Options of `python -m soundctm.data.bundle make`."""

    output: str = option("exp/bundle.safetensors", "the file to write")
    max_mib: float = option(40.0, "its largest size in MiB; the last items that would go beyond are left out")
    precision: str = option("int8", "of latents and hidden states; int8 holds twice as many", choices=PRECISIONS)
    cpu: bool = option(False, "encode on the CPU even if there is a GPU")
    num_workers: int = option(-1, "processes that read sounds; -1: 4 beside a GPU, none on a CPU")

    def __post_init__(self) -> None:
        if self.bundle:
            raise UserError("bundle is an option of trainings; a bundle is made from sounds")
        if self.max_mib <= 0:
            raise UserError(f"max_mib is {self.max_mib}; it must be above 0")


class Texts:
    """Captions in the order in which items bring them, each hidden state once."""

    def __init__(self, encoder: TextEncoder, store: Any) -> None:
        self.encoder, self.store = encoder, store
        self.captions: dict[str, int] = {}  # its number
        self.states: list[int] = []  # of every caption
        self.rows: list[Tensor] = []  # of every state
        self._by_tokens: dict[tuple[int, ...], int] = {}
        self._numbers, self._bytes = 0, 0  # of the states, and of what the header says of them
        self.add("")

    def add(self, caption: str) -> int:
        """The number of `caption`. Captions of the same tokens (capital letters, for most encoders) share a state."""
        if caption not in self.captions:
            limit = self.encoder.max_length
            tokens = tuple(self.encoder.tokenizer(caption, truncation=True, max_length=limit)["input_ids"])
            if tokens not in self._by_tokens:
                self._by_tokens[tokens] = len(self.rows)
                self.rows.append(self.store.encode([caption]).hidden[0].float().cpu())
                self._numbers += self.rows[-1].numel()
                self._bytes += 2 * self.rows[-1].numel() // BLOCK + 8  # step sizes; length in the header
            self.captions[caption] = len(self.states)
            self.states.append(self._by_tokens[tokens])
            self._bytes += len(json.dumps(json.dumps(caption))) + 12
        return self.captions[caption]

    def size(self, number_bytes: int) -> int:
        """Bytes of states and header so far."""
        return self._numbers * number_bytes + self._bytes


def make_bundle(config: BundleConfig) -> Path:
    """Encode, write the bundle, and return its path. Raises UserError where nothing fits or cannot be read."""
    accelerator = Accelerator(cpu=config.cpu or not torch.accelerator.is_available(), mixed_precision="no")
    source = open_sounds(config, accelerator)
    if getattr(source.data, "live", False):
        raise UserError("clips of train_shards are encoded as they come; a bundle needs train_file or a corpus")
    texts = Texts(source.encoder, source.texts)
    limit = config.max_mib * MIB - SPARE
    held_out, spent = _fitting(source.held_out or [], texts, limit, 0, config.precision)
    if len(held_out) < len(source.held_out or []):
        raise UserError(
            f"the {len(source.held_out)} held-out items alone are more than max_mib, {config.max_mib:g} MiB"
        )
    train, _ = _fitting(source.data, texts, limit, spent, config.precision)
    if not train:
        raise UserError(f"no item fits into max_mib, {config.max_mib:g} MiB, beside {len(held_out)} held-out ones")
    if len(train) < len(source.data):
        logger.info("%d of %d items fit into %g MiB", len(train), len(source.data), config.max_mib)
    return _write(Path(config.output), config.precision, source, texts, train, held_out)


def _fitting(
    data: Latents | Sequence, texts: Texts, limit: float, spent: int, precision: str
) -> tuple[list[tuple[Tensor, Tensor, int]], int]:
    """Those first items of `data` that fit: (mean, logvar, number of the caption) of each, and bytes of items so far.

    Items that cannot be read were named when the data was opened, and are left out.
    """
    number_bytes = {"int8": 1, "float16": 2}[precision]
    found = []
    for index in range(len(data)):
        try:
            mean, logvar, caption = data[index]
        except UserError as error:
            logger.warning("left out: %s", error)
            continue
        number = texts.add(caption)
        size = mean.numel() * number_bytes + (2 * mean.numel() // mean.shape[1] if number_bytes == 1 else 0) + 16
        size += 0 if bool((logvar < POINT).all()) else 2 * logvar.numel()
        if spent + size + texts.size(number_bytes) > limit:
            break
        spent += size
        found.append((mean, logvar, number))
    return found, spent


def _write(
    path: Path,
    precision: str,
    source: Opened,
    texts: Texts,
    train: list[tuple[Tensor, Tensor, int]],
    held_out: list[tuple[Tensor, Tensor, int]],
) -> Path:
    shape = tuple(source.data.shape)
    rows = torch.cat(texts.rows)
    rows = rows.unflatten(1, (-1, math.gcd(rows.shape[1], BLOCK)))
    states = Numbers.of(rows, precision, 2)
    tensors, errors = states.tensors("text.rows"), {"hidden states": states.error(rows)}
    for name, items in (("train", train), ("held_out", held_out)):
        means = torch.stack([mean for mean, _, _ in items]) if items else torch.zeros(0, *shape)
        logvars = torch.stack([logvar for _, logvar, _ in items]) if items else torch.zeros(0, *shape)
        numbers = Numbers.of(means, precision, 2)
        if items:
            errors[f"{name} latents"] = numbers.error(means)
        tensors |= numbers.tensors(f"{name}.mean")
        tensors[f"{name}.caption"] = torch.tensor([number for _, _, number in items], dtype=torch.int32)
        if any(bool((logvar >= POINT).any()) for _, logvar, _ in (*train, *held_out)):
            tensors[f"{name}.logvar"] = logvars.half()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "identity": source.identity,
        "text_encoder": source.encoder.name,
        "latent_shape": shape,
        "scale_factor": float(source.data.scale_factor),
        "sampling_rate": source.codec.sampling_rate,
        "seconds": source.codec.default_seconds,
        "relative_errors": errors,
        "captions": list(texts.captions),
        "states": texts.states,
        "lengths": [len(row) for row in texts.rows],
    }
    content = save(tensors, {"bundle": json.dumps(header)})
    write_whole(path, content)
    for name, error in errors.items():
        logger.info("%s as %s: %.2g of their root mean square off", name, precision, error)
    logger.info(
        "%s: %.1f MiB, %d items, %d held out, %d captions with %d different states of %d tokens",
        path, os.path.getsize(path) / MIB, len(train), len(held_out), len(texts.captions), len(texts.rows), len(rows),
    )  # fmt: skip
    return path
