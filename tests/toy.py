"""The smallest training that the loop can run: a regression whose rows are drawn from their numbers."""

from __future__ import annotations

import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from soundctm.config import option
from soundctm.training.inputs.rows import generators, normal
from soundctm.training.running import loop
from soundctm.training.running.options import RunConfig, start_accelerator
from soundctm.training.running.schedule import Schedule
from soundctm.training.tasks.task import Moment, Outcome, Task


@dataclass(frozen=True)
class ToyConfig(RunConfig):
    """`bad_rows` are written step:row."""

    batch_size: int = option(4, "rows per micro-batch")
    steps: int = option(20, "steps")
    width: int = option(8, "of the network")
    label: str = option("a", "part of the identity")
    bad_rows: tuple[str, ...] = option((), "rows whose input is NaN")
    bad_gradients: tuple[int, ...] = option((), "steps whose loss is finite and whose gradient is not")
    pause: float = option(0.0, "seconds that a step takes")


@dataclass(frozen=True)
class ToySource:
    seed: int
    bad_rows: tuple[str, ...]

    def batch(self, step: int, rows: range) -> torch.Tensor:
        x = normal((4,), generators(self.seed, step, rows))
        for place, row in enumerate(rows):
            if f"{step}:{row}" in self.bad_rows:
                x[place] = torch.nan
        return x


class ToyTask(Task):
    name, metric = "toy", "distance"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config, start_accelerator(config))
        torch.manual_seed(config.seed)
        self.shares = self.share_out(config.batch_size)
        self.source = ToySource(config.seed, config.bad_rows)
        self.network = nn.Sequential(nn.Linear(4, config.width), nn.Tanh(), nn.Linear(config.width, 1))
        self.model = self.network
        self.optimizer = torch.optim.RAdam(self.network.parameters())
        self.parts = {"network": self.network, "optimizer": self.optimizer}
        self.identity = {"label": config.label}
        self.schedule = Schedule(config.steps, 5, config.max_minutes)
        self.peak_rate, self.grad_clip = 1e-2, 1.0

    def outcome(self, batch: torch.Tensor, moment: Moment) -> Outcome:
        time.sleep(self.config.pause)
        loss = (self.model(batch)[:, 0] - batch.sum(1)).square().mean()
        if moment.step in self.config.bad_gradients:
            zero = next(self.network.parameters()).sum() * 0.0
            loss = loss + zero.sqrt()  # 0 forwards, infinite times 0 backwards
        return Outcome(loss)

    def validate(self) -> dict[str, float]:
        x = normal((4,), generators(99, 0, range(16)))
        with torch.no_grad():
            return {"distance": (self.network(x)[:, 0] - x.sum(1)).abs().mean().item()}

    @property
    def result(self) -> Path:
        return Path(self.config.output_dir) / "network.pt"

    def export(self) -> None:
        torch.save(self.network.state_dict(), self.result)


def train(config: ToyConfig) -> Path:
    return loop.train(ToyTask, config)


def toy_config(folder: Path, **given) -> ToyConfig:
    """Logs every step; a checkpoint every 5."""
    values = {
        "output_dir": str(folder), "cpu": True, "mixed_precision": "no", "log_every": 1, "validation_every": 5,
        "checkpointing_steps": 5, "sample_clips": 0,
    }  # fmt: skip
    return ToyConfig(**{**values, **given})


def save_slowly():
    """Make torch.save write half of its file and stall, from the second checkpoint on."""
    save, calls = torch.save, []

    def stalling(state, path, *args):
        save(state, path, *args)
        if "network" in state:
            calls.append(path)
        if len(calls) > 1:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            time.sleep(3600)

    torch.save = stalling


def limit_files():
    """No file may grow beyond 40 KB, which no check of the free space foresees."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
