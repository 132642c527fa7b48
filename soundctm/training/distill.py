"""Distillation: the student learns to jump along the guided teacher's trajectories.

The losses are those of `soundctm.distillation`; this module is the loop around them: RAdam, the averaged target,
checkpoints, and the finished checkpoint folder.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from audioldm.codec import AudioLDMCodec
from soundctm.checkpoints import NETWORKS, Components, load_network, save_checkpoint
from soundctm.config import option
from soundctm.data.latents import LatentDataset
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.distillation import Distillation, DistillationConfig, Losses, draw
from soundctm.ema import update_ema
from soundctm.errors import UserError
from soundctm.networks import StudentUNet
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder
from soundctm.training.batches import Batch, LatentBatches
from soundctm.training.run import Run, every, generator
from soundctm.training.schedule import Schedule
from soundctm.training.source import SourceConfig, open_latents


@dataclass(frozen=True)
class DistillConfig(SourceConfig, DistillationConfig):
    """Options of `ctm_train.py distill`."""

    teacher: str = option("exp/teacher/teacher", "folder of the trained teacher", aliases=("teacher_model_path",))
    export_parts: tuple[str, ...] = option(("ema", "student", "teacher"), "networks in the finished model")
    export_int8: tuple[str, ...] = option((), "those of them stored as int8, the others are float16")
    output_dir: str = option("exp/distill", "where checkpoints, log and the finished model go")
    sigma_min: float = option(0.002, "lowest noise level")
    sigma_max: float = option(80.0, "highest noise level")
    rho: float = option(7.0, "warp of the noise grid")
    sigma_data: float = option(0.25, "sigma_data of the teacher")
    uncond_prob: float = option(0.1, "share of captions dropped")
    per_device_train_batch_size: int = option(8, "clips per step and process", aliases=("batch_size",))
    total_training_steps: int = option(30000, "training steps", aliases=("max_train_steps",))
    max_minutes: float = option(0.0, "end after this time; 0 is no limit")
    lr: float = option(8e-5, "learning rate of RAdam", aliases=("learning_rate",))
    lr_schedule: str = option("constant", "learning rate over the run", choices=("constant", "cosine"))
    weight_decay: float = option(0.0, "weight decay")
    start_ema: float = option(0.999, "decay of the target, which is also the model that is shipped", aliases=("ema",))
    model_grad_clip_value: float = option(1000.0, "largest gradient norm", aliases=("grad_clip",))
    mixed_precision: str = option("bf16", "accelerate precision", choices=("no", "bf16", "fp16"))
    cpu: bool = option(False, "use the CPU even if there is a GPU")
    seed: int = option(5031, "seed of order, draws and noise")
    validation_every: int = option(100, "steps between validations")
    checkpointing_steps: int = option(100, "steps between checkpoints", aliases=("save_interval",))
    keep_last: int = option(2, "checkpoints kept")
    resume_from_checkpoint: str | None = option("latest", "latest, a checkpoint folder, or none")

    def __post_init__(self) -> None:
        super().__post_init__()
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

    def forward(self, batch: Batch, draws: object) -> Losses:
        """The losses of one step."""
        return self.step(batch.latents, batch.text, batch.empty, draws)


def train(config: DistillConfig) -> Path:
    """Distil, then write `<output_dir>/model`, a checkpoint folder, and return its path."""
    accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=config.cpu)
    run = Run(accelerator, config, "distill")
    device = accelerator.device
    teacher_unet = load_network(Path(config.teacher), "teacher")
    encoder = TextEncoder.from_pretrained(config.text_encoder_name, cache_entries=1 << 17).to(device)
    latents, held_out = open_latents(config, accelerator)
    batches = LatentBatches(
        latents, encoder, config.per_device_train_batch_size, config.uncond_prob, config.seed,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip

    torch.manual_seed(config.seed)  # for the first layer of the s-embedding
    student_unet = StudentUNet.from_config({k: v for k, v in teacher_unet.config.items() if not k.startswith("_")})
    teacher = TeacherDenoiser(teacher_unet, config.schedule).to(device).eval().requires_grad_(False)
    student = StudentDenoiser(student_unet.start_as(teacher_unet), config.schedule).to(device).train()
    target = copy.deepcopy(student).eval().requires_grad_(False)
    step_losses = Distillation(teacher, student, target, config)
    optimizer = torch.optim.RAdam(student.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    parts = {"student": student, "target": target, "optimizer": optimizer}
    step, spent = run.restore(parts)
    model, optimizer = accelerator.prepare(StudentObjective(student, step_losses), optimizer)
    parts["optimizer"] = optimizer

    schedule = Schedule(config.total_training_steps, config.lr, 1, config.max_minutes, spent)
    while (done := schedule.progress(step)) < 1.0:
        rate = schedule.learning_rate(step) if config.lr_schedule == "cosine" else config.lr
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = batches(step, device)
        draws = draw(batch.latents, config, config.schedule, generator(config.seed, step, accelerator.process_index))
        with accelerator.autocast():
            losses = model(batch, draws.to(device))
            total = losses.total
        accelerator.backward(total)
        norm = run.step_optimizer(model, optimizer, config.model_grad_clip_value)
        update_ema(target, student, config.start_ema)
        step += 1
        last = schedule.progress(step) >= 1.0
        values = {**named(losses), "grad_norm": norm, "solver_steps": draws.solver_steps, "lr": rate}
        if every(step, config.validation_every, last) and held_out is not None:
            with accelerator.autocast():
                values |= validate(step_losses, held_out, encoder, config, device)
        if every(step, 10, last):
            run.progress(step, config.total_training_steps, {"ctm": values["consistency"], "done": done})
            run.log(step, {**values, "seconds": round(schedule.spent, 1)})
        if every(step, config.checkpointing_steps, last):
            run.save(step, parts, schedule.spent)
    run.close()
    folder = run.output_dir / "model"
    if accelerator.is_main_process:
        codec = AudioLDMCodec.from_pretrained(config.codec)
        networks = {"ema": target.unet, "student": student.unet, "teacher": teacher_unet}
        chosen = {name: networks[name] for name in config.export_parts}
        whole = Components(
            **chosen, codec=codec, text_encoder=encoder, schedule=config.schedule,
            training_config=dataclasses.asdict(config),
        )  # fmt: skip
        dtypes = {name: torch.int8 if name in config.export_int8 else torch.float16 for name in (*chosen, "codec")}
        save_checkpoint(folder, whole, dtype=dtypes, overwrite=True)
    accelerator.wait_for_everyone()
    return folder


def named(losses: Losses) -> dict[str, float]:
    """Means of the parts, for the log."""
    values = {"consistency": losses.consistency.mean().item()}
    if losses.denoising is not None:
        values |= {"denoising": losses.denoising.mean().item(), "balance": losses.balance.item()}
    return values


def validate(
    step: Distillation, held_out: LatentDataset, encoder: TextEncoder, config: DistillConfig, device: torch.device
) -> dict[str, float]:
    """The target's own losses on held-out items with fixed draws: how well it agrees with itself and the teacher."""
    own = Distillation(step.teacher, step.target, step.target, dataclasses.replace(config, apply_adaptive_weight=False))
    size = min(16, len(held_out.captions))
    batches = LatentBatches(held_out, encoder, size, 0.0, seed=1)
    with torch.no_grad():
        results = []
        for k in range(2):
            batch = batches(k, device)
            draws = draw(batch.latents, config, config.schedule, generator(1, k)).to(device)
            results.append(named(own(batch.latents, batch.text, batch.empty, draws)))
    return {
        f"validation_{key}": sum(r[key] for r in results) / 2
        for key in ("consistency", "denoising")
        if key in results[0]
    }
