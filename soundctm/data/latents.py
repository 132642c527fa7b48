"""VAE moments of composed items, computed once: diffusion training then needs neither sound nor the VAE.

The file is one safetensors: `mean` and `logvar` float16 [count, channels, frames, bands] of the unscaled posterior,
captions and labels in the header, and the key it was made for. It is written under a temporary name and renamed.

While items are encoded they are written in parts of the same form beside it, `<path>.parts/<key>/`, so that a start
after a kill goes on after the last part; they are removed once the file is there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from soundctm.errors import UserError
from soundctm.files import sweep, whole_file
from soundctm.files.tensors import open_tensors

if TYPE_CHECKING:
    from soundctm.data.compose import ComposedCorpus

logger = logging.getLogger(__name__)

PART = 32  # batches written together: an interrupted encoding goes on after them


class LatentDataset(Dataset):
    """`dataset[i] -> (mean, logvar, caption)`; `draw` gives scaled latents as `codec.encode` would."""

    def __init__(self, mean: Tensor, logvar: Tensor, captions: list[str], labels: list[str], scale_factor: float):
        if not len(mean) == len(logvar) == len(captions) == len(labels):
            raise ValueError("mean, logvar, captions and labels differ in length")
        self.mean, self.logvar = mean, logvar
        self.captions, self.labels = captions, labels
        self.scale_factor = scale_factor

    @property
    def shape(self) -> tuple[int, ...]:
        """[channels, frames, bands] of one item."""
        return tuple(self.mean.shape[1:])

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        return self.mean[index].float(), self.logvar[index].float(), self.captions[index]

    def draw(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Sampled latents float32 [len(indices), channels, frames, bands]: scale_factor * (mean + std * noise)."""
        mean, logvar = self.mean[indices].float(), self.logvar[indices].float()
        noise = torch.randn(mean.shape, generator=generator)
        return self.scale_factor * (mean + torch.exp(0.5 * logvar) * noise)

    def std(self) -> float:
        """Standard deviation of the unscaled posterior samples over the whole set (its inverse is a scale factor)."""
        mean = self.mean.double()
        return float((mean.var() + self.logvar.double().exp().mean()).sqrt())


def channel_statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation float32 [C] of latents [N, C, ...] over clips and frames, of the population."""
    rows = latents.double().transpose(0, 1).flatten(1)
    mean = rows.mean(1)
    return mean.float(), (rows.square().mean(1) - mean.square()).clamp_min(0).sqrt().float()


def latent_dataset(
    corpus: ComposedCorpus,
    codec: Any,
    count: int,
    path: str | os.PathLike,
    *,
    start: int = 0,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    bf16: bool = False,
    workers: int = 0,
    progress: bool = True,
) -> LatentDataset:
    """Moments of items start .. start + count - 1 of `corpus`, from `path` if it was made for the same key.

    `codec` needs `.moments(waveform) -> (mean, logvar)`, `.encoder_state()`, `.device` and `.scale_factor`. It is
    moved to `device` and back; `bf16` halves the time and keeps 3 digits, as float16 storage nearly does. So many
    `workers` compose while this process encodes; the items are the same for any number, up to rounding (a worker has
    one thread). Another key or a damaged file means building and replacing the file.
    """
    if count < 1:
        raise UserError(f"the number of items is {count}; it must be positive")
    path = Path(path)
    key = cache_key(corpus, codec, count, start)
    found = read_latents(path, key)
    if found is not None:
        logger.info("latents of %d items read from %s", count, path)
        found.scale_factor = float(codec.scale_factor)
        return found
    logger.info("encoding %d items to %s", count, path)
    sweep(path.parent)
    made_with = hashlib.sha256(f"{key} {batch_size} {bf16}".encode()).hexdigest()[:16]
    parts = path.with_name(f"{path.name}.parts") / made_with
    sweep(parts)
    size = PART * batch_size
    numbers = {first: min(size, count - first) for first in range(0, count, size)}
    made = {first: read_latents(_part(parts, first), f"{number} from {first}") for first, number in numbers.items()}
    absent = [first for first in numbers if made[first] is None]
    batches = {first: _batches(first, numbers[first], batch_size) for first in absent}
    items = _Items(corpus, start, [batch for first in absent for batch in batches[first]])
    composed = iter(DataLoader(items, batch_size=None, num_workers=workers))
    home = codec.device
    codec.to(device)

    def encode(first: int) -> LatentDataset:
        means, logvars, captions, labels = [], [], [], []
        for _ in batches[first]:
            waveforms, some_captions, some_labels = next(composed)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
                mean, logvar = codec.moments(waveforms.to(device))
            means.append(mean.half().cpu())
            logvars.append(logvar.half().cpu())
            captions += some_captions
            labels += some_labels
        return LatentDataset(torch.cat(means), torch.cat(logvars), captions, labels, float(codec.scale_factor))

    try:
        for first in tqdm(absent, "latents", unit="part", disable=not progress):
            made[first] = encode(first)
            write_latents(made[first], _part(parts, first), f"{numbers[first]} from {first}")
    finally:
        codec.to(home)
    # contiguous, as the file gives them back: a kernel's rounding depends on the memory layout
    mean = torch.cat([part.mean for part in made.values()]).contiguous()
    logvar = torch.cat([part.logvar for part in made.values()]).contiguous()
    captions, labels = (
        [text for part in made.values() for text in getattr(part, name)] for name in ("captions", "labels")
    )
    dataset = LatentDataset(mean, logvar, captions, labels, float(codec.scale_factor))
    write_latents(dataset, path, key)
    shutil.rmtree(parts.parent, ignore_errors=True)
    return dataset


class _Items(Dataset):
    """`items[k]` are the waveforms, captions and labels of batch k, composed wherever they are asked for."""

    def __init__(self, corpus: ComposedCorpus, start: int, batches: list[tuple[int, int]]) -> None:
        self.corpus, self.start, self.batches = corpus, start, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Tensor, list[str], list[str]]:
        from soundctm.data.compose import build_items  # it needs the sound libraries, reading latents does without

        first, number = self.batches[index]
        return build_items(self.corpus, number, self.start + first)


def _batches(first: int, number: int, size: int) -> list[tuple[int, int]]:
    """(first item, number of items) of the batches of a part."""
    return [(at, min(size, first + number - at)) for at in range(first, first + number, size)]


def _part(folder: Path, first: int) -> Path:
    return folder / f"{first:08d}.safetensors"


def cache_key(corpus: ComposedCorpus, codec: Any, count: int, start: int = 0) -> str:
    """What the moments depend on, as JSON: items (seed, numbers, clips, caption table) and the VAE's weights."""
    table = {label: dataclasses.asdict(spec) for label, spec in sorted(corpus.table.items())}
    rows = [dataclasses.astuple(row) for rows in corpus.labels.values() for row in rows]
    content = json.dumps([table, rows], sort_keys=True, ensure_ascii=True).encode()
    return json.dumps(
        {
            "vae": state_hash(codec.encoder_state()),
            "table": hashlib.sha256(content).hexdigest(),
            "seed": corpus.seed,
            "start": start,
            "count": count,
            "num_samples": corpus.num_samples,
            "pairs": corpus.pairs,
            "speed_changes": corpus.speed_changes,
            "highpass": corpus.highpass,
        },
        sort_keys=True,
    )


def state_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and bytes of a state dict."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_latents(dataset: LatentDataset, path: str | os.PathLike, key: str) -> None:
    """Write the file of the module docstring, whole or not at all."""
    header = {
        "key": key,
        "captions": json.dumps(dataset.captions),
        "labels": json.dumps(dataset.labels),
        "scale_factor": repr(dataset.scale_factor),
    }
    with whole_file(path) as temporary:
        save_file({"mean": dataset.mean.contiguous(), "logvar": dataset.logvar.contiguous()}, temporary, header)


def read_latents(path: str | os.PathLike, key: str | None = None) -> LatentDataset | None:
    """The data set at `path`; None if there is no such file, it is damaged, or it was made for another key."""
    path = Path(path)
    if not path.is_file():
        return None
    try:
        with open_tensors(path) as file:
            header = file.metadata() or {}
            if key is not None and header.get("key") != key:
                logger.info("%s was made from other items or another VAE", path)
                return None
            mean, logvar = file.get_tensor("mean"), file.get_tensor("logvar")
            captions, labels = json.loads(header["captions"]), json.loads(header["labels"])
            if mean.shape != logvar.shape or mean.ndim < 2 or not all(isinstance(text, str) for text in captions):
                raise ValueError("mean, logvar and captions do not fit")
            return LatentDataset(mean, logvar, captions, labels, float(header["scale_factor"]))
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError, OSError) as error:
        logger.warning("%s cannot be used and will be made again: %s", path, error)
        return None
