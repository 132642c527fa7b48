"""The options that every training has, and the accelerator that follows from them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
from accelerate import Accelerator, PartialState

from soundctm import precision
from soundctm.config import check_ranges, option
from soundctm.distributed import highest_over_processes
from soundctm.errors import UserError
from soundctm.files.locks import held
from soundctm.training.running.trackers import check_trackers

# How long a process waits for another, for example while the first one encodes a large data set.
PATIENCE = timedelta(hours=6)


@dataclass(frozen=True)
class RunConfig:
    """How a training runs, whatever it trains."""

    output_dir: str = option("exp/run", "where checkpoints, log, samples and the finished model go")
    max_minutes: float = option(0.0, "end, with the learning rate at zero, after this time; 0 is no limit", low=0)
    gradient_accumulation_steps: int = option(1, "micro-batches per step on every process", low=1)
    total_batch_size: int = option(
        0, "rows per step over all processes, from which accumulation follows; 0 is not set", low=0
    )
    mixed_precision: str = option(
        "auto", "number format; auto: bf16 where it is faster, by trying", choices=precision.CHOICES
    )
    cpu: bool = option(False, "use the CPU even if there is a GPU")
    seed: int = option(0, "seed of weights, order and draws", low=0, high=2**62)
    num_workers: int = option(-1, "processes that prepare batches; -1: 4 beside a GPU, none on a CPU", low=-1, high=256)
    log_every: int = option(20, "steps between log lines", low=1)
    validation_every: int = option(250, "steps between validations", aliases=("validation_steps",), low=0)
    sample_clips: int = option(4, "clips made and written at every validation; 0 is none", low=0)
    checkpointing_steps: int = option(250, "steps between checkpoints", aliases=("save_interval",), low=0)
    keep_last: int = option(2, "newest checkpoints kept", low=1)
    keep_best: bool = option(True, "keep also the checkpoint with the best validation")
    resume_from_checkpoint: str | None = option("latest", "latest, best, a checkpoint folder, or none")
    max_bad_steps: int = option(
        10, "steps in a row without a finite loss and gradient after which the run stops", low=1
    )
    report_to: tuple[str, ...] = option((), "trackers beside log.jsonl: wandb, tensorboard")
    tracker_project: str = option("soundctm", "name of the project in the trackers", aliases=("wandb_project",))

    def __post_init__(self) -> None:
        """Everything that can be checked without work is checked here, in all options of a training."""
        check_ranges(self)
        check_trackers(self.report_to)


@contextlib.contextmanager
def holding(config: RunConfig) -> Iterator[None]:
    """The output folder held by the first process for all of a run. Raises UserError on all when another run has it."""
    state = _start_state(config)
    with contextlib.ExitStack() as held_folder:
        problem = None
        try:
            held_folder.enter_context(held(config.output_dir, "training", holds=state.is_main_process))
        except UserError as error:
            problem = error
        if highest_over_processes([problem is not None], state.device)[0]:
            raise problem or UserError(f"the first process cannot have {config.output_dir}, see there")
        yield


def start_accelerator(config: RunConfig) -> Accelerator:
    """accelerate's view of the processes of this run, in the precision that the configuration means here."""
    state = _start_state(config)
    wanted = precision.resolve(config.mixed_precision, state.device)
    if config.mixed_precision == "auto" and highest_over_processes([wanted == "no"], state.device)[0]:
        wanted = "no"  # processes that have measured differently agree
    return Accelerator(mixed_precision=wanted, cpu=_on_cpu(config))


def _start_state(config: RunConfig) -> PartialState:
    # gloo and NCCL give up on a silent process after minutes unless told otherwise
    return PartialState(cpu=_on_cpu(config), timeout=PATIENCE)


def _on_cpu(config: RunConfig) -> bool:
    # Without being told that there is no GPU, accelerate leaves the processes of a CPU alone with themselves.
    return config.cpu or not torch.accelerator.is_available()
