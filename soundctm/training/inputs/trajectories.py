"""Trajectories of the guided teacher, solved once and kept on disk.

Solving from t to u is most of the work of a distillation step. Here whole trajectories are solved before the training,
from noisy clips at sigma_max down to sigma_min, and every step takes z_t and z_u from one of them. A trajectory serves
many steps, with other t, u and s each time.

    <folder>/<key>/<block>.safetensors      BLOCK trajectories: states [BLOCK, N, C, ...], latents, omega; captions

The key tells everything that the trajectories depend on. Files appear whole or not at all, so an interrupted run goes
on after the last one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import save_file
from tqdm import tqdm

from soundctm.distillation import Distillation, draw_omega
from soundctm.errors import UserError
from soundctm.files import sweep, whole_file
from soundctm.files.tensors import open_tensors
from soundctm.training.inputs.batches import Batch, LatentBatches, LatentRows, Latents
from soundctm.training.inputs.rows import Order, generator, generators, normal

logger = logging.getLogger(__name__)

BLOCK = 16  # trajectories solved and written together
NOISE, OMEGA = 8, 9  # streams of random numbers


@dataclass
class TrajectoryRows(LatentRows):
    """Rows of a step whose trajectories are known: `states` [B, N, C, ...], and the omega [B] they were solved with."""

    states: torch.Tensor | None = None
    omega: torch.Tensor | None = None


class StoredTrajectories:
    """Batches of stored trajectories, shuffled anew every epoch, as a function of step and row."""

    def __init__(self, folder: str | os.PathLike, data: Latents, count: int, total: int, seed: int) -> None:
        """`data` are the clips that the `count` trajectories in `folder` began at; a step has `total` rows."""
        self.folder, self.data, self.total = Path(folder), data, total
        self._order = Order(count, seed)

    def batch(self, step: int, rows: range) -> TrajectoryRows:
        """The given rows of the global batch of `step`. Raises UserError when a file has gone."""
        found = [self._trajectory(self._order[step * self.total + row]) for row in rows]
        states, latents, captions, omega = zip(*found, strict=True)
        return TrajectoryRows(
            torch.stack(latents), list(captions), rows, states=torch.stack(states),
            omega=None if omega[0] is None else torch.stack(omega),
        )  # fmt: skip

    def _trajectory(self, number: int) -> tuple[torch.Tensor, torch.Tensor, str, torch.Tensor | None]:
        block, row = divmod(number, BLOCK)
        path = _file(self.folder, block)
        try:
            with open_tensors(path) as file:
                kept = {name: file.get_slice(name)[row : row + 1][0] for name in file.keys()}  # noqa: SIM118
                captions = json.loads(file.metadata()["captions"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"trajectories cannot be read: {path}: {error}; start again to solve them anew") from error
        return kept["states"], kept["latents"], captions[row], kept.get("omega")


def solve_trajectories(
    step: Distillation,
    clips: LatentBatches,
    with_text: Callable[[LatentRows], Batch],
    folder: Path,
    identity: Mapping[str, Any],
    accelerator: Accelerator,
) -> Path:
    """Solve those trajectories of the rows of `clips` (its global batch at step 0) that are not on disk.

    The processes share the blocks. `with_text` moves rows to the device and encodes their captions; `identity` names
    teacher, codec and text encoder. Returns the folder of the files.
    """
    place = folder / _key(step, clips, identity, accelerator.mixed_precision)
    if accelerator.is_main_process:
        sweep(place)
    accelerator.wait_for_everyone()
    blocks = [range(first, min(first + BLOCK, clips.total)) for first in range(0, clips.total, BLOCK)]
    shape = (step.config.start_scales, *clips.data.shape)
    absent = [block for block, rows in enumerate(blocks) if not _is_whole(_file(place, block), len(rows), shape)]
    accelerator.wait_for_everyone()  # nothing is written before every process has looked
    mine = absent[accelerator.process_index :: accelerator.num_processes]
    logger.info("%d of %d trajectories are to be solved", min(len(absent) * BLOCK, clips.total), clips.total)
    for block in tqdm(mine, "trajectories", unit="block", disable=not accelerator.is_main_process or not mine):
        with accelerator.autocast():
            _write(_file(place, block), *_solve(step, clips, with_text, blocks[block], block))
    accelerator.wait_for_everyone()
    return place


def _solve(
    step: Distillation, clips: LatentBatches, with_text: Callable[[LatentRows], Batch], rows: range, block: int
) -> tuple[dict[str, torch.Tensor], list[str]]:
    some = clips.batch(0, rows)
    batch = with_text(some)
    latents = batch.latents
    noise = normal(latents.shape[1:], generators(clips.seed, 0, rows, NOISE)).to(latents.device)
    omega = draw_omega(step.config, len(rows), generator(clips.seed, block, stream=OMEGA))
    guidance = None if omega is None else omega.to(latents.device)
    start = latents + step.schedule.sigma_max * noise
    tensors = {"states": step.trajectory(start, batch.text, batch.empty, guidance), "latents": latents}
    if omega is not None:
        tensors["omega"] = omega
    return {name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()}, some.captions


def _key(step: Distillation, clips: LatentBatches, identity: Mapping[str, Any], precision: str) -> str:
    """Hash of what the trajectories depend on."""
    config = dataclasses.asdict(step.config)
    names = (
        "start_scales", "solver", "uniform_sampled_cfg_distill", "w_min", "w_max", "cfg_single_distill",
        "single_target_cfg", "frozen_precision", "train_file", "audio_dir", "train_shards", "mix_share",
        "polarity", "highpass",
    )  # fmt: skip
    captions = hashlib.sha256("\n".join(getattr(clips.data, "captions", ())).encode()).hexdigest()
    content = {
        **{name: config.get(name) for name in names}, **identity, "seed": clips.seed, "captions": captions,
        "count": clips.total, "uncond_prob": clips.text_dropout, "precision": precision,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _is_whole(path: Path, count: int, shape: tuple[int, ...]) -> bool:
    """Whether `count` trajectories of `shape` are there; a damaged file is told."""
    if not path.is_file():
        return False
    try:
        with open_tensors(path) as file:
            found, captions = file.get_slice("states").get_shape(), json.loads(file.metadata()["captions"])
            latents = file.get_slice("latents").get_shape()
        if [list(found), list(latents), len(captions)] == [[count, *shape], [count, *shape[1:]], count]:
            return True
        problem = f"it holds {found}"
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        problem = str(error)
    logger.warning("%s cannot be used and is solved again: %s", path, problem)
    return False


def _file(folder: Path, block: int) -> Path:
    return folder / f"{block:06d}.safetensors"


def _write(path: Path, tensors: dict[str, torch.Tensor], captions: list[str]) -> None:
    with whole_file(path) as temporary:
        save_file(tensors, temporary, {"captions": json.dumps(captions)})
