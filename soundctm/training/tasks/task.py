"""What the training loop needs to know of a training: its parts, its losses, and what it leaves behind."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from accelerate import Accelerator
from torch import nn

from soundctm.training.inputs.rows import Shares
from soundctm.training.running.options import RunConfig
from soundctm.training.running.schedule import Schedule


class Source(Protocol):
    """Where batches come from. It may be called in worker processes, so it is plain data and code."""

    def batch(self, step: int, rows: range) -> Any:
        """The given rows of the global batch of `step`, on the CPU: a function of its arguments alone."""
        ...


@dataclass(frozen=True)
class Moment:
    """Where a training is: `step` updates were made and the share `done` in [0, 1) of it has passed."""

    step: int
    done: float


@dataclass
class Outcome:
    """What a micro-batch gives: the loss to differentiate and what is logged, all 0-dim."""

    loss: torch.Tensor
    values: dict[str, torch.Tensor] = field(default_factory=dict)


class Task(abc.ABC):
    """One training. A subclass sets the attributes below in its constructor; the loop does the rest."""

    name: ClassVar[str]
    metric: ClassVar[str] = ""  # the value of `validate` that is lowest in the best checkpoint
    accumulates: ClassVar[bool] = True  # whether a step may consist of several micro-batches
    sharded: bool = False  # whether the weights are cut over the processes (soundctm.training.running.sharding)

    source: Source
    shares: Shares
    schedule: Schedule
    model: nn.Module  # what is trained by `optimizer`
    optimizer: torch.optim.Optimizer
    peak_rate: float  # highest learning rate of `optimizer`
    grad_clip: float
    parts: dict[str, Any]  # modules and optimisers by their names in a checkpoint
    identity: Mapping[str, Any]  # what a checkpoint must have been made with to be continued

    def __init__(self, config: RunConfig, accelerator: Accelerator) -> None:
        self.config, self.accelerator, self.device = config, accelerator, accelerator.device
        self.identity = {}

    def share_out(self, size: int) -> Shares:
        """The rows of this process, `size` at a time."""
        config, accelerator = self.config, self.accelerator
        return Shares.of(
            size, accelerator.num_processes, accelerator.process_index, config.gradient_accumulation_steps,
            config.total_batch_size,
        )  # fmt: skip

    def prepare(self) -> None:
        """Hand model and optimiser to accelerate; called once, after a checkpoint was loaded."""
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.parts["optimizer"] = self.optimizer

    def set_rates(self, factor: float) -> None:
        """Set the learning rates to the share `factor` of their peaks."""
        set_rate(self.optimizer, self.peak_rate * factor)

    @abc.abstractmethod
    def outcome(self, batch: Any, moment: Moment) -> Outcome:
        """Loss and values of one micro-batch from `source`. `model` runs under autocast, what is beside it does not."""

    def work(self, moment: Moment) -> int:
        """Number of solver steps, on which the cost of a distillation step depends; 0 elsewhere."""
        return 0

    def zero_grad(self) -> None:
        """Forget the gradients of a step."""
        self.optimizer.zero_grad(set_to_none=True)

    def updated(self, moment: Moment) -> None:  # noqa: B027 - most trainings keep an average, not all
        """After an update of the weights; not after a skipped step."""

    @abc.abstractmethod
    def validate(self) -> dict[str, float]:
        """Values on held-out clips with fixed draws, equal on every process; runs on all of them."""

    def measured(self) -> dict[str, float]:
        """What this process has to say beside the losses; added to log lines."""
        return {}

    def write_samples(self, folder: Path | None) -> dict[str, float]:
        """Write sounds and pictures of them into `folder`, and return their scores; a VAE alone makes no sound.

        It runs on the main process alone or, if the weights are cut, on all, with None where nothing is to be written.
        """
        return {}

    @property
    @abc.abstractmethod
    def result(self) -> Path:
        """The folder of the finished networks."""

    @property
    def replaced(self) -> dict[Path, str]:
        """Folders that what is finished takes the place of, each with the file by which an older one is known."""
        return {self.result: "config.json"}

    def gather(self) -> None:  # noqa: B027 - nothing is cut in most trainings
        """Make the finished networks whole on the main process; runs on all of them."""

    @abc.abstractmethod
    def export(self) -> None:
        """Write the finished networks to `result`; runs on the main process alone."""

    @contextlib.contextmanager
    def accumulating(self, last: bool) -> Iterator[None]:
        """Gradients of all but the last micro-batch stay on their process."""
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
            yield


def trained_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Those that are not frozen, in the order of the module."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameters of `optimizer` one learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
