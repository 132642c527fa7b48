"""Training of the teacher: an EDM denoiser with text dropout and an average of its weights.

loss = mean (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 |D(z_0 + sigma eps, sigma) - z_0|^2,
ln sigma ~ N(sigma_mean, sigma_std^2)                                    (EDM, table 1 and section 5)
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from soundctm.checkpoints import load_network
from soundctm.config import option
from soundctm.data.latents import LatentDataset
from soundctm.denoisers import TeacherDenoiser
from soundctm.ema import update_ema
from soundctm.losses import l2
from soundctm.networks import TeacherUNet
from soundctm.schedule import SigmaSchedule, append_dims
from soundctm.text import TextConditioning, TextEncoder
from soundctm.training.batches import Batch, LatentBatches
from soundctm.training.run import Run, every, generator
from soundctm.training.schedule import Schedule
from soundctm.training.source import SourceConfig, open_latents
from soundctm.training.start import start_from


@dataclass(frozen=True)
class TeacherConfig(SourceConfig):
    """Options of `ctm_train.py teacher`."""

    unet_model_config: str = option("configs/mini/unet.json", "UNet configuration in diffusers' form")
    output_dir: str = option("exp/teacher", "where checkpoints, log and the finished teacher go")
    init: str | None = option(None, "teacher folder whose weights the training starts from; none is a fresh start")
    sigma_min: float = option(0.002, "lowest noise level")
    sigma_max: float = option(80.0, "highest noise level")
    rho: float = option(7.0, "warp of the noise grid")
    sigma_data: float = option(0.25, "standard deviation of the latents")
    sigma_mean: float = option(-1.2, "mean of ln(sigma) in training")
    sigma_std: float = option(1.2, "standard deviation of ln(sigma) in training")
    uncond_prob: float = option(0.1, "share of captions dropped")
    per_device_train_batch_size: int = option(32, "clips per step and process", aliases=("batch_size",))
    max_train_steps: int = option(3000, "training steps; the learning rate ends at zero")
    max_minutes: float = option(0.0, "end, with the learning rate at zero, after this time; 0 is no limit")
    lr: float = option(5e-4, "peak learning rate of AdamW", aliases=("learning_rate",))
    warmup_steps: int = option(100, "steps of linear warm-up")
    weight_decay: float = option(0.01, "decoupled weight decay")
    ema: float = option(0.999, "decay of the weight average, reached gradually")
    grad_clip: float = option(1.0, "largest gradient norm")
    mixed_precision: str = option("bf16", "accelerate precision", choices=("no", "bf16", "fp16"))
    cpu: bool = option(False, "use the CPU even if there is a GPU")
    seed: int = option(0, "seed of weights, order and noise")
    validation_every: int = option(250, "steps between validations")
    checkpointing_steps: int = option(250, "steps between checkpoints")
    keep_last: int = option(2, "checkpoints kept")
    resume_from_checkpoint: str | None = option("latest", "latest, a checkpoint folder, or none")

    @property
    def schedule(self) -> SigmaSchedule:
        """The noise levels."""
        return SigmaSchedule(self.sigma_min, self.sigma_max, self.rho, self.sigma_data)


class TeacherObjective(torch.nn.Module):
    """The denoiser with its loss, so that the forward pass of a distributed step goes through one module."""

    def __init__(self, denoiser: TeacherDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, latents: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Weighted squared error per sample [B] at levels sigma [B]."""
        noisy = latents + append_dims(sigma, latents.ndim) * noise
        estimate = self.denoiser(noisy, sigma, TextConditioning(hidden, mask))
        return self.denoiser.schedule.weight("karras_weight", sigma) * l2(estimate, latents)


def train(config: TeacherConfig) -> Path:
    """Train, then write the averaged teacher to `<output_dir>/teacher` (diffusers' form) and return that path."""
    accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=config.cpu)
    run = Run(accelerator, config, "teacher")
    encoder = TextEncoder.from_pretrained(config.text_encoder_name, cache_entries=1 << 17).to(accelerator.device)
    latents, held_out = open_latents(config, accelerator)
    batches = LatentBatches(
        latents, encoder, config.per_device_train_batch_size, config.uncond_prob, config.seed,
        accelerator.process_index, accelerator.num_processes,
    )  # fmt: skip

    torch.manual_seed(config.seed)
    unet = TeacherUNet.from_config(
        {**TeacherUNet.load_config(config.unet_model_config), "cross_attention_dim": encoder.dim}
    )
    if config.init:
        start_from(unet, load_network(Path(config.init), "teacher"), config.init)
    objective = TeacherObjective(TeacherDenoiser(unet, config.schedule)).to(accelerator.device)
    average = copy.deepcopy(objective).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        objective.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    parts = {"model": objective, "average": average, "optimizer": optimizer}
    step, spent = run.restore(parts)
    model, optimizer = accelerator.prepare(objective, optimizer)
    parts["optimizer"] = optimizer

    schedule = Schedule(config.max_train_steps, config.lr, config.warmup_steps, config.max_minutes, spent)
    while (done := schedule.progress(step)) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(step)
        model.train()
        batch = batches(step, accelerator.device)
        with accelerator.autocast():
            loss = edm_loss(model, batch, config, generator(config.seed, step, accelerator.process_index)).mean()
        accelerator.backward(loss)
        norm = run.step_optimizer(model, optimizer, config.grad_clip)
        update_ema(average, objective, min(config.ema, (1 + step) / (10 + step)))
        step += 1
        last = schedule.progress(step) >= 1.0
        values = {"loss": loss.item(), "grad_norm": norm, "lr": schedule.learning_rate(step - 1)}
        if every(step, config.validation_every, last) and held_out is not None:
            with accelerator.autocast():
                values["validation_loss"] = validate(average, held_out, encoder, config, accelerator.device)
        if every(step, 20, last):
            run.progress(step, config.max_train_steps, {"loss": values["loss"], "done": done})
            run.log(step, {**values, "seconds": round(schedule.spent, 1)})
        if every(step, config.checkpointing_steps, last):
            run.save(step, parts, schedule.spent)
    run.close()
    folder = run.output_dir / "teacher"
    if accelerator.is_main_process:
        average.denoiser.unet.save_pretrained(folder)
    accelerator.wait_for_everyone()
    return folder


def edm_loss(model: torch.nn.Module, batch: Batch, config: TeacherConfig, draws: torch.Generator) -> torch.Tensor:
    """Loss per sample [B] of one batch with levels and noise from `draws` (on the CPU)."""
    size = len(batch.latents)
    sigma = (config.sigma_mean + config.sigma_std * torch.randn(size, generator=draws)).exp()
    noise = torch.randn(batch.latents.shape, generator=draws)
    device = batch.latents.device
    return model(batch.latents, sigma.to(device), noise.to(device), batch.text.hidden, batch.text.mask)


@torch.no_grad()
def validate(
    average: TeacherObjective,
    held_out: LatentDataset,
    encoder: TextEncoder,
    config: TeacherConfig,
    device: torch.device,
) -> float:
    """Mean loss over all held-out items with fixed draws and no text dropout."""
    average.eval()
    size = min(32, len(held_out.captions))
    batches = LatentBatches(held_out, encoder, size, 0.0, seed=1)
    losses = [
        edm_loss(average, batches(step, device), config, generator(1, step)).mean().item()
        for step in range(len(held_out.captions) // size)
    ]
    return sum(losses) / len(losses)
