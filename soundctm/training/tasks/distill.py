"""Distillation: the student learns to jump along the guided teacher's trajectories.

The losses are those of `soundctm.distillation`; this module binds them to the training loop: RAdam, the averaged
target, validation, and the finished checkpoint folder.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from soundctm.checkpoints import NETWORKS, load_network, save_checkpoint
from soundctm.checkpoints.assemble import write_made_with
from soundctm.checkpoints.layout import INDEX
from soundctm.config import option
from soundctm.data.latents import state_hash
from soundctm.defaults import Defaults
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.distillation import (
    Distillation,
    DistillationConfig,
    Draws,
    Losses,
    draw,
    target_decay,
    tune,
)
from soundctm.distillation.official_flags import add_dead_flags as add_dead_flags  # for the script's parser
from soundctm.ema import update_ema
from soundctm.errors import UserError
from soundctm.places import shipped
from soundctm.schedule import SigmaSchedule
from soundctm.training.inputs.batches import Batch, LatentRows
from soundctm.training.inputs.resident import Numbers, ResidentBatches, ResidentTrajectories
from soundctm.training.inputs.rows import device_generator, generator, generators, normal
from soundctm.training.inputs.source import SourceConfig, check_source
from soundctm.training.inputs.trajectories import StoredTrajectories, solve_trajectories
from soundctm.training.running import loop
from soundctm.training.running.options import RunConfig, start_accelerator
from soundctm.training.running.schedule import Schedule
from soundctm.training.running.sharding import new_mesh, shard_network, shard_optimizer, synchronise, whole
from soundctm.training.running.start import start_from
from soundctm.training.tasks.diffusion import HELD_OUT_SEED, DiffusionTask
from soundctm.training.tasks.task import Moment, Outcome, trained_parameters

logger = logging.getLogger(__name__)

SAMPLE_STEPS = (1, 4)  # of the clips written at validations
FEWEST_TRAJECTORIES = 160  # that a training learns from, however few the clips
SHARED, NOISE = 4, 5  # streams of random numbers


@dataclass(frozen=True)
class DistillConfig(SourceConfig, RunConfig, DistillationConfig):
    """Options of `ctm_train.py distill`."""

    teacher: str = option("exp/teacher/teacher", "folder of the trained teacher", aliases=("teacher_model_path",))
    init: str | None = option(None, "folder of a student to start from (weights in diffusers' form); none: the teacher")
    export_parts: tuple[str, ...] = option(("ema", "student", "teacher"), "networks in the finished model")
    sample_omega: float = option(
        3.5, "omega that the finished model is sampled with when none is given, within w_min and w_max", low=0
    )
    export_early: bool = option(False, "write the model with the samples of every validation, to try it meanwhile")
    device_noise: bool = option(False, "draw noise on the device, which is faster; it then depends on the device")
    export_int8: tuple[str, ...] = option((), "those of them stored as int8, the others are float16")
    trajectories_per_clip: int = option(
        4, f"with train_file: most trajectories per clip, but not below {FEWEST_TRAJECTORIES}; 0: no limit", low=0
    )
    output_dir: str = option("exp/distill", "where checkpoints, log, samples and the finished model go")
    sigma_min: float = option(0.002, "lowest noise level", above=0)
    sigma_max: float = option(80.0, "highest noise level", above=0)
    rho: float = option(7.0, "warp of the noise grid", above=0)
    sigma_data: float = option(0.25, "sigma_data of the teacher", above=0)
    uncond_prob: float = option(0.1, "share of captions dropped", low=0, high=1)
    per_device_train_batch_size: int = option(
        8, "clips per micro-batch and process", aliases=("batch_size",), low=1, high=65_536
    )
    total_training_steps: int = option(30000, "training steps", aliases=("max_train_steps",), low=1)
    lr: float = option(8e-5, "learning rate of RAdam", aliases=("learning_rate",), above=0)
    shard: bool = option(False, "cut student and target over the processes (FSDP), for networks too large for one GPU")
    lr_schedule: str = option("constant", "learning rate over the run", choices=("constant", "cosine"))
    weight_decay: float = option(0.0, "weight decay", low=0)
    model_grad_clip_value: float = option(1000.0, "largest gradient norm", aliases=("grad_clip",), above=0)
    seed: int = option(5031, "seed of order, draws and noise", low=0, high=2**62)
    log_every: int = option(10, "steps between log lines", low=1)
    validation_every: int = option(100, "steps between validations", aliases=("validation_steps",), low=0)
    checkpointing_steps: int = option(100, "steps between checkpoints", aliases=("save_interval",), low=0)

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        DistillationConfig.__post_init__(self)
        check_source(self)
        for name in (*self.export_parts, *self.export_int8):
            if name not in NETWORKS:
                raise UserError(f"no network {name!r} to export; they are {', '.join(NETWORKS)}")

    @property
    def schedule(self) -> SigmaSchedule:
        """The noise levels."""
        return SigmaSchedule(self.sigma_min, self.sigma_max, self.rho, self.sigma_data)


class StudentObjective(torch.nn.Module):
    """The student with the whole step, so that a distributed step is one forward of one module."""

    def __init__(self, student: StudentDenoiser, step: Distillation) -> None:
        super().__init__()
        self.student = student
        self.step = step  # a plain object: teacher and target are not parameters of this module

    def forward(self, batch: Batch, draws: Draws, states: torch.Tensor | None = None) -> Losses:
        """The losses of one step."""
        return self.step(batch.latents, batch.text, batch.empty, draws, states)


class DistillTask(DiffusionTask):
    """Teacher, student and target, and the student's optimiser."""

    name, metric = "distill", "validation_consistency"
    validation_batch, validation_rows = 16, 32  # a held-out clip costs nearly as much as a training clip
    config: DistillConfig

    def __init__(self, config: DistillConfig) -> None:
        # a wrong path shows before clips are encoded
        if not Path(shipped(config.teacher)).is_dir():
            raise UserError(
                f"no teacher at {config.teacher}: train one first, `ctm_train.py teacher`, or give --teacher FOLDER"
            )
        self.teacher_network = load_network(config.teacher, "teacher")
        init = load_network(config.init, "student") if config.init else None
        super().__init__(config, start_accelerator(config))
        torch.manual_seed(config.seed)  # for the first layer of the s-embedding
        self.teacher_network.check_latents(self.source.data.shape)
        network = self.teacher_network.new_student()
        if init is not None:
            start_from(network, init, config.init)
        self.freeze_idle(network)
        self.identity |= {"weights of the teacher": state_hash(self.teacher_network.state_dict())[:12]}
        teacher = TeacherDenoiser(self.teacher_network, config.schedule).to(self.device).eval().requires_grad_(False)
        self.student = StudentDenoiser(network, config.schedule).to(self.device).train()
        self.target = copy.deepcopy(self.student).eval().requires_grad_(False)
        tune(config, teacher, self.student, self.target)
        step = Distillation(teacher, self.student, self.target, config)
        self.model = StudentObjective(self.student, step)
        if config.trajectories:
            self.source = self.stored_trajectories(step)
        # The target's own losses: how well it agrees with itself and with the teacher.
        unbalanced = dataclasses.replace(config, apply_adaptive_weight=False)
        self.held_out_step = Distillation(teacher, self.target, self.target, unbalanced)
        self.optimizer = torch.optim.RAdam(
            trained_parameters(self.student), lr=config.lr, weight_decay=config.weight_decay
        )
        self.parts = {"student": self.student, "target": self.target, "optimizer": self.optimizer}
        self.peak_rate, self.grad_clip = config.lr, config.model_grad_clip_value
        self.schedule = Schedule(config.total_training_steps, 1, config.max_minutes, config.lr_schedule)

    def prepare(self) -> None:
        self.sharded = self.config.shard and self.shares.processes > 1
        if not self.sharded:
            super().prepare()
            return
        mesh = new_mesh(self.device)
        shard_network(self.student.network, mesh, trained=True)
        shard_network(self.target.network, mesh, trained=False)
        self.optimizer = self.parts["optimizer"] = shard_optimizer(self.optimizer, self.student)

    def stored_trajectories(self, step: Distillation) -> StoredTrajectories | ResidentTrajectories:
        """The trajectories of the configuration, those that are not on disk yet solved now, by all processes."""
        config, source = self.config, self.source
        folder = Path(config.cache_dir) / "trajectories"
        count = config.trajectories
        if config.train_file:
            count = fitting_trajectories(config, len(source.data))
            if count < config.trajectories:
                logger.info(
                    "%d trajectories are enough for %d clips: %d per clip, not %d in all (--trajectories_per_clip)",
                    count, len(source.data), config.trajectories_per_clip, config.trajectories,
                )  # fmt: skip
        clips = self.batches_of(source.data, count)
        if isinstance(clips, ResidentBatches):
            with self.accelerator.autocast():
                return ResidentTrajectories(clips, step, self.shares.total, config.per_device_train_batch_size)
        place = solve_trajectories(step, clips, self.with_text, folder, self.identity, self.accelerator)
        return StoredTrajectories(place, source.data, count, self.shares.total, config.seed)

    @contextlib.contextmanager
    def accumulating(self, last: bool) -> Iterator[None]:
        if not self.sharded:
            with super().accumulating(last):
                yield
            return
        synchronise([self.student.network], last)
        yield

    def outcome(self, batch: LatentRows | Numbers, moment: Moment) -> Outcome:
        seed, total = self.config.seed, self.shares.total
        device = self.device if self.config.device_noise else None
        rows = self.with_text(batch)
        shape = rows.latents.shape[1:]
        draws = draw_rows(self.config, seed, moment.step, batch.rows, total, shape, moment.done, device)
        if rows.states is not None:
            draws = dataclasses.replace(draws, omega=rows.omega)
        with self.accelerator.autocast():  # accelerate sees to that only where it wraps the model
            losses = self.model(rows, draws.to(self.device), rows.states)
        values = {**named(losses), "solver_steps": torch.tensor(float(draws.solver_steps))}
        if draws.omega is not None:
            values["omega"] = draws.omega.mean()
        return Outcome(losses.total, values)

    def work(self, moment: Moment) -> int:
        if self.config.trajectories:
            return 0
        return small_draws(self.config, self.config.seed, moment.step, 1, moment.done).solver_steps

    def updated(self, moment: Moment) -> None:
        update_ema(self.target, self.student, target_decay(self.config, moment.done))

    def held_out_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        count, *shape = batch.latents.shape
        draws = draw_rows(self.config, HELD_OUT_SEED, batch.rows[0], range(count), count, shape, done=1.0)
        losses = self.held_out_step(batch.latents, batch.text, batch.empty, draws.to(self.device))
        return {f"validation_{name}": value for name, value in named(losses).items() if name != "balance"}

    def write_samples(self, folder: Path | None) -> dict[str, float]:
        if self.config.export_early and folder is not None and not self.sharded:
            self.export()
        return self.sampled(folder, SAMPLE_STEPS, ema=self.target.network)

    def gather(self) -> None:
        if self.sharded:
            for part in (self.student, self.target):
                state = whole(part.network.state_dict())
                part.network = self.teacher_network.new_student()
                part.network.load_state_dict(state)

    @property
    def result(self) -> Path:
        return Path(self.config.output_dir) / "model"

    @property
    def replaced(self) -> dict[Path, str]:
        return {self.result: INDEX}

    def export(self) -> None:
        config = self.config
        networks = {"ema": self.target.network, "student": self.student.network, "teacher": self.teacher_network}
        chosen = {name: networks[name] for name in config.export_parts}
        model = self.components(**chosen)
        model.training_config = dataclasses.asdict(config)
        model.sampling = Defaults(omega=config.sample_omega).trained_with(model.training_config)
        dtypes = {name: torch.int8 if name in config.export_int8 else torch.float16 for name in (*chosen, "codec")}
        save_checkpoint(self.result, model, dtype=dtypes, overwrite=True)
        write_made_with(self.result, self.made_with)


def train(config: DistillConfig) -> Path:
    """Distil, then write `<output_dir>/model`, a checkpoint folder, and return its path."""
    return loop.train(DistillTask, config)


def fitting_trajectories(config: DistillConfig, clips: int) -> int:
    """How many trajectories are solved for `clips` of one's own sounds: never more than `trajectories`."""
    if not config.trajectories_per_clip:
        return config.trajectories
    return min(config.trajectories, max(FEWEST_TRAJECTORIES, config.trajectories_per_clip * clips))


def small_draws(config: DistillConfig, seed: int, step: int, total: int, done: float) -> Draws:
    """The draws of all `total` rows of a step, without noise: every process draws the same and takes its rows."""
    return draw(torch.empty(total, 0), config, config.schedule, generator(seed, step, stream=SHARED), done)


def draw_rows(
    config: DistillConfig,
    seed: int,
    step: int,
    rows: range,
    total: int,
    shape: Sequence[int],
    done: float,
    device: torch.device | None = None,
) -> Draws:
    """The draws of some rows of the `total` of a step; noise of the latents' `shape` has a generator per row, or one
    for all on `device`."""
    own = {
        name: value[list(rows)] if isinstance(value, torch.Tensor) else value
        for name, value in vars(small_draws(config, seed, step, total, done)).items()
    }
    if device is not None:
        draw_all = device_generator(seed, step, rows, device, NOISE)
        for name in ("noise", "dsm_noise"):
            own[name] = torch.randn(len(rows), *shape, generator=draw_all, device=device)
    else:
        draws = generators(seed, step, rows, NOISE)
        own["noise"], own["dsm_noise"] = normal(shape, draws), normal(shape, draws)
    return Draws(**own)


def named(losses: Losses) -> dict[str, torch.Tensor]:
    """Means of the parts, for the log."""
    values = {"consistency": losses.consistency.detach().mean()}
    if losses.denoising is not None:
        values |= {"denoising": losses.denoising.detach().mean(), "balance": losses.balance.detach()}
    return values
