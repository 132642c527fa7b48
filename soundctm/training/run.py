"""What every diffusion training keeps beside its weights: configuration, log lines, checkpoints, a progress bar."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from tqdm import tqdm

from soundctm.config import save_config
from soundctm.errors import UserError
from soundctm.training.checkpointing import Checkpointer

logger = logging.getLogger(__name__)

MOST_BAD_STEPS = 10  # non-finite gradients in a row before a run gives up


class Run:
    """One training run in `output_dir`: `training_config.yaml`, `log.jsonl`, `checkpoint-*/`."""

    def __init__(self, accelerator: Accelerator, config: Any, name: str) -> None:
        self.accelerator, self.config, self.name = accelerator, config, name
        self.output_dir = Path(config.output_dir)
        self.checkpointer = Checkpointer(self.output_dir, config.keep_last)
        self.bad_steps = 0
        self._bar: tqdm | None = None
        if accelerator.is_main_process:
            try:
                self.output_dir.mkdir(parents=True, exist_ok=True)
                save_config(config, self.output_dir / "training_config.yaml")
            except OSError as error:
                raise UserError(f"cannot write to the output folder {self.output_dir}: {error.strerror}") from error
        accelerator.wait_for_everyone()

    def restore(self, parts: Mapping[str, Any]) -> tuple[int, float]:
        """Load the checkpoint that the configuration names into `parts`; (step, seconds spent), (0, 0.0) without one.

        `parts` are modules and optimisers by name. Raises UserError when the checkpoint holds others.
        """
        found = self.checkpointer.resume(self.config.resume_from_checkpoint)
        if found is None:
            return 0, 0.0
        step, state = found
        if missing := sorted(set(parts) - set(state)):
            raise UserError(f"the checkpoint of step {step} in {self.output_dir} lacks {', '.join(missing)}")
        for name, part in parts.items():
            try:
                part.load_state_dict(state[name])
            except (RuntimeError, ValueError) as error:
                raise UserError(
                    f"the checkpoint of step {step} in {self.output_dir} is of another configuration: "
                    f"its {name} does not fit ({str(error).splitlines()[0]})"
                ) from error
        logger.info("resumed at step %d", step)
        return step, float(state["spent"])

    def save(self, step: int, parts: Mapping[str, Any], spent: float) -> None:
        """Write a checkpoint of `parts` (main process only; every process may call)."""
        if self.accelerator.is_main_process:
            self.checkpointer.save(step, {**{k: v.state_dict() for k, v in parts.items()}, "spent": spent})

    def progress(self, step: int, total: int, values: Mapping[str, float] | None = None) -> None:
        """Move the bar to `step` of `total` and show `values`."""
        if self._bar is None:
            hidden = not self.accelerator.is_main_process
            self._bar = tqdm(total=total, initial=step, desc=self.name, disable=hidden, dynamic_ncols=True)
        self._bar.update(step - self._bar.n)
        if values:
            self._bar.set_postfix({k: f"{v:.4g}" for k, v in values.items()})

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line to `log.jsonl`."""
        if self.accelerator.is_main_process:
            with (self.output_dir / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")

    def step_optimizer(self, module: nn.Module, optimizer: Any, grad_clip: float) -> float:
        """Clip and step if the gradient norm is finite, else skip; returns the norm before clipping.

        Under data parallelism every process sees the same reduced gradient and so decides alike. Raises UserError
        after `MOST_BAD_STEPS` skipped steps in a row.
        """
        norm = float(self.accelerator.clip_grad_norm_(module.parameters(), grad_clip))
        if norm == norm and norm != float("inf"):
            optimizer.step()
            self.bad_steps = 0
        else:
            self.bad_steps += 1
            if self.bad_steps == MOST_BAD_STEPS:
                raise UserError(f"{MOST_BAD_STEPS} training steps in a row had a non-finite gradient")
        optimizer.zero_grad(set_to_none=True)
        return norm

    def close(self) -> None:
        """End the progress bar."""
        if self._bar is not None:
            self._bar.close()


def generator(seed: int, step: int, rank: int = 0, stream: int = 0) -> torch.Generator:
    """The CPU generator of one step on one process: a run resumed at any step draws what it would have drawn."""
    state = np.random.SeedSequence((seed, step, rank, stream)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def every(step: int, interval: int, last: bool) -> bool:
    """Whether something done every `interval` steps, and at the end, is due."""
    return last or (interval > 0 and step % interval == 0)
