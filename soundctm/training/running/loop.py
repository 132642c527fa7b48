"""The training loop of all networks.

One step: the rows of the global batch are shared out over processes and micro-batches, their gradients averaged, and
all processes agree whether the step counts (every loss and gradient finite), how much time is spent, and whether the
run shall end. What a step does depends on nothing but the weights and its number, so a resumed run is the same run.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from soundctm.distributed import highest_over_processes, mean_over_processes
from soundctm.errors import UserError
from soundctm.files import check_replaceable, sweep
from soundctm.training.inputs.loader import micro_batches
from soundctm.training.running.checkpointing import Checkpointer
from soundctm.training.running.flops import FlopMeter, device_peak
from soundctm.training.running.journal import Journal, memory
from soundctm.training.running.options import RunConfig, holding
from soundctm.training.running.schedule import Clock
from soundctm.training.running.sharding import whole
from soundctm.training.running.state import pack, restore
from soundctm.training.running.stop import StopRequest
from soundctm.training.tasks.task import Moment, Task

logger = logging.getLogger(__name__)


def train(kind: Callable[[Any], Task], config: RunConfig) -> Path:
    """Build the task of `config`, train it to the end, then write the result and return its folder.

    The output folder is held from before the first work to the end: two trainings cannot share one.

    Raises UserError for what is wrong with the given, and SystemExit with 128 + signal after SIGTERM or SIGINT, once
    the checkpoint is written.
    """
    Checkpointer(config.output_dir, config.keep_last).check(config.resume_from_checkpoint)
    with holding(config):
        return run(kind(config))


def run(task: Task) -> Path:
    """Train `task` to the end, in a folder that nobody else writes to; the rest as for `train`."""
    for folder, mark in task.replaced.items():
        check_replaceable(folder, mark)
    if task.shares.micro_batches > 1 and not task.accumulates:
        raise UserError(f"the training of the {task.name} takes one micro-batch per step; no accumulation")
    loop = Loop(task)
    try:
        loop.run()
    finally:
        loop.journal.close()
    task.gather()
    if task.accelerator.is_main_process:
        task.export()
    task.accelerator.wait_for_everyone()
    return task.result


def every(step: int, interval: int, last: bool) -> bool:
    """Whether something done every `interval` steps, and at the end, is due."""
    return last or (interval > 0 and step % interval == 0)


@dataclasses.dataclass
class Since:
    """What has passed since the last log line."""

    steps: int = 0
    seconds: float = 0.0
    waiting: float = 0.0  # of them for data
    flops: float = 0.0


class Loop:
    """The state of one run of `train`."""

    def __init__(self, task: Task) -> None:
        config, accelerator = task.config, task.accelerator
        self.task, self.config, self.accelerator = task, config, accelerator
        if accelerator.scaler is not None:
            task.parts["scaler"] = accelerator.scaler
        self.checkpointer = Checkpointer(config.output_dir, config.keep_last, config.keep_best)
        self.position = restore(
            self.checkpointer, config.resume_from_checkpoint, task.parts, task.identity, config, task.device
        )
        if accelerator.is_main_process:
            sweep(config.output_dir)
            self.checkpointer.begin(self.position.step, self.position.run)
        task.prepare()
        self.first, self.spent_before = self.position.step, self.position.spent
        self.clock = Clock(self.position.spent)
        self.meter = FlopMeter(device_peak(accelerator.device, accelerator.mixed_precision))
        self.journal = Journal(config, task.name, task.schedule.steps, self.first, accelerator.is_main_process)
        self.since, self.bad_in_row = Since(), 0

    def run(self) -> None:
        """All steps that are left."""
        task, position = self.task, self.position
        batches = micro_batches(
            task.source, task.shares, position.step, task.schedule.steps, self.config.num_workers, task.device
        )
        with StopRequest() as request:
            while (done := task.schedule.progress(position.step, position.spent)) < 1.0:
                values, stop = self.step(batches, Moment(position.step, done), request.caught is not None)
                last = task.schedule.progress(position.step, position.spent) >= 1.0
                score = self.report(values, last)
                if stop or every(position.step, self.config.checkpointing_steps, last):
                    self.save(score)
                if stop:
                    logger.warning("stopped at step %d; the same command goes on from there", position.step)
                    raise SystemExit(request.exit_code)

    def step(self, batches: Iterator[Any], moment: Moment, stop: bool) -> tuple[dict[str, torch.Tensor], bool]:
        """One step; returns what it measured and whether any process was asked to stop."""
        task, count, began = self.task, self.task.shares.micro_batches, time.monotonic()
        task.set_rates(task.schedule.factor(moment.step, self.position.spent))
        sums: dict[str, torch.Tensor] = {}
        for micro_batch in range(count):
            asked = time.monotonic()
            batch = next(batches)
            self.since.waiting += time.monotonic() - asked
            with task.accumulating(last=micro_batch == count - 1), self.meter.counting(task.work(moment)):
                outcome = task.outcome(batch, moment)
                self.accelerator.backward(outcome.loss / count)
            for name, value in {"loss": outcome.loss, **outcome.values}.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / count
        norm = whole(self.accelerator.clip_grad_norm_(task.model.parameters(), task.grad_clip))
        # A gradient scaler provokes infinite gradients to find its scale, and skips those steps by itself.
        finite = math.isfinite(sums["loss"]) and (math.isfinite(norm) or self.accelerator.scaler is not None)
        bad, stop, self.position.spent = highest_over_processes(
            [not finite, stop, self.clock.read()], self.accelerator.device
        )
        self._update(moment, bool(bad))
        self.position.step += 1
        self.since.steps += 1
        self.since.seconds += time.monotonic() - began
        self.since.flops += count * (self.meter.flops(task.work(moment)) or 0.0)
        return {**sums, "grad_norm": norm}, bool(stop)

    def report(self, values: dict[str, torch.Tensor], last: bool) -> float | None:
        """Log, validate and sample where that is due; returns the validation's score."""
        task, config, position = self.task, self.config, self.position
        remaining = task.schedule.remaining(position.step, position.spent, self.first, self.spent_before)
        validating = every(position.step, config.validation_every, last)
        found = self.validate() if validating else {}
        if not (validating or every(position.step, config.log_every, last)):
            self.journal.progress(position.step)
            return None
        names = list(values)
        means = mean_over_processes(torch.stack([values[name].float().to(task.device) for name in names]))
        line = dict(zip(names, means.tolist(), strict=True)) | found
        self.journal.progress(position.step, remaining, {"loss": line["loss"]})
        self.journal.line(position.step, line | self._measured() | {"seconds_left": round(remaining, 1)})
        return found.get(task.metric)

    def validate(self) -> dict[str, float]:
        """The task's validation, and its samples in `samples/step-XXXXXXXX`."""
        found = self.task.validate()
        main = self.accelerator.is_main_process
        wanted = self.config.sample_clips or getattr(self.config, "export_early", False)
        if wanted and (main or self.task.sharded):
            folder = Path(self.config.output_dir) / "samples" / f"step-{self.position.step:08d}"
            found |= self.task.write_samples(folder if main else None)
        self.accelerator.wait_for_everyone()
        return found

    def save(self, score: float | None) -> None:
        """Write a checkpoint, on the main process."""
        if self.accelerator.is_main_process or self.task.sharded:
            state = whole(pack(self.task.parts, self.task.identity, self.config, self.position))
            if self.accelerator.is_main_process:
                self.checkpointer.save(self.position.step, state, score)

    def _update(self, moment: Moment, bad: bool) -> None:
        """Step the optimiser on every process, or on none."""
        task = self.task
        if bad:
            self.bad_in_row += 1
            self.position.skipped += 1
            self.journal.line(moment.step + 1, {"skipped": self.position.skipped}, event="not finite, skipped")
            if self.bad_in_row >= self.config.max_bad_steps:
                raise UserError(
                    f"{self.bad_in_row} steps in a row had a loss or gradient that is not finite, the last was step "
                    f"{moment.step + 1}; the last checkpoint is from before them"
                )
        else:
            self.bad_in_row = 0
        if not bad or self.accelerator.scaler is not None:
            task.optimizer.step()
        if not bad:
            task.updated(moment)
        task.zero_grad()

    def _measured(self) -> dict[str, float]:
        """Times, speed and memory since the last line."""
        task, since = self.task, self.since
        line = {
            "lr": task.optimizer.param_groups[0]["lr"],
            "seconds": round(self.position.spent, 1),
            "step_seconds": since.seconds / since.steps,
            "data_seconds": since.waiting / since.steps,
            "samples_per_second": since.steps * task.shares.total / since.seconds,
            "memory_gib": memory(self.accelerator.device),
            "skipped": self.position.skipped,
            **task.measured(),
        }
        if self.meter.peak and since.flops:
            line["mfu"] = since.flops / since.seconds / self.meter.peak
        self.since = Since()
        return line
