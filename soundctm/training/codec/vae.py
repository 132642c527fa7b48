"""Training of the mel VAE: L1 between log-mels plus a small Kullback-Leibler term.

    loss = mean |decode(z) - mel| + kl_weight * mean_latents KL(N(mean, std²) || N(0, 1)),   z = mean + std * noise

Afterwards `scale_factor` is measured such that the latents of training windows have the standard deviation sigma_data.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL
from torch import Tensor, nn
from tqdm import tqdm

from audioldm import AudioLDMCodec, LogMel, MelConfig
from audioldm.vae import build_vae, downsampling
from soundctm.config import option, save_config
from soundctm.errors import UserError
from soundctm.training.checkpointing import Checkpointer
from soundctm.training.codec.sounds import CodecSounds
from soundctm.training.schedule import Schedule
from soundctm.training.start import start_from

logger = logging.getLogger(__name__)

MEAN_LOG_MEL = -7.0  # of the corpus, roughly


@dataclasses.dataclass(frozen=True)
class VAETrainingConfig:
    """Options of `ctm_train.py vae`."""

    corpus: str = option("data/corpus", "folder with corpus.csv and its clips")
    output_dir: str = option("exp/vae", "where checkpoints, log and the finished codec go")
    init: str | None = option(None, "codec folder whose VAE weights the training starts from; none is a fresh start")
    channels: tuple[int, ...] = option((32, 64, 128), "VAE channels per level; levels halve time and mel")
    layers_per_block: int = option(1, "ResNet layers per level")
    latent_channels: int = option(8, "channels of the latents")
    norm_num_groups: int = option(16, "groups of the group norms")
    window_frames: int = option(128, "mel frames per training window")
    batch_size: int = option(4, "windows per step")
    steps: int = option(3000, "training steps; the learning rate ends at zero")
    max_minutes: float = option(0.0, "end, with the learning rate at zero, after this time; 0 is no limit")
    learning_rate: float = option(5e-4, "peak of the cosine schedule")
    warmup_steps: int = option(100, "steps of linear warm-up")
    grad_clip: float = option(1.0, "largest gradient norm")
    kl_weight: float = option(2e-2, "weight of the mean KL per latent value")
    sigma_data: float = option(0.25, "standard deviation that scale_factor gives the latents")
    seconds: float = option(2.56, "clip length written as the codec's default")
    mixed_precision: str = option("bf16", "accelerate precision", choices=("no", "bf16"))
    cpu: bool = option(False, "use the CPU even if there is a GPU")
    seed: int = option(0, "seed of weights, windows and noise")
    validation_every: int = option(200, "steps between validations")
    checkpointing_steps: int = option(200, "steps between checkpoints")
    keep_last: int = option(2, "checkpoints kept")
    resume_from_checkpoint: str | None = option("latest", "latest, a checkpoint folder, or none")


class VAEObjective(nn.Module):
    """The VAE with its loss, so that the forward pass of a distributed step goes through one module."""

    def __init__(self, vae: AutoencoderKL, kl_weight: float) -> None:
        super().__init__()
        self.vae = vae
        self.kl_weight = kl_weight

    def forward(self, mel: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, mel L1, mean KL per latent value) of log-mels [B, 1, T, mels] and standard normal latent noise."""
        distribution = self.vae.encode(mel).latent_dist
        mean, logvar = distribution.mean.float(), distribution.logvar.float()
        latents = mean + (0.5 * logvar).exp() * noise
        l1 = (self.vae.decode(latents).sample.float() - mel).abs().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        return l1 + self.kl_weight * kl, l1.detach(), kl.detach()


def train(config: VAETrainingConfig) -> Path:
    """Train, then write `<output_dir>/codec` (without a vocoder) and return its path."""
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    save_config(config, output_dir / "training_config.yaml")
    accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=config.cpu)
    if config.max_minutes > 0 and accelerator.num_processes > 1:
        raise UserError("max_minutes ends each process at its own step; with several processes use steps")
    to_mel = LogMel(MelConfig()).to(accelerator.device)
    sounds = CodecSounds(config.corpus, "train", to_mel.config.sampling_rate)
    held_out = to_mel(CodecSounds(config.corpus, "test").excerpts(64, 40960).to(accelerator.device))

    torch.manual_seed(config.seed)
    vae = build_vae(config.channels, config.layers_per_block, config.latent_channels, config.norm_num_groups)
    nn.init.constant_(vae.decoder.conv_out.bias, MEAN_LOG_MEL)  # spares the first hundred steps
    if config.init:
        start_from(vae, AudioLDMCodec.from_pretrained(config.init).vae, config.init)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    checkpointer = Checkpointer(output_dir, config.keep_last)
    step, spent = 0, 0.0
    if (found := checkpointer.resume(config.resume_from_checkpoint)) is not None:
        step, state = found
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        spent = state["spent"]
        logger.info("resumed at step %d", step)
    objective, optimizer = accelerator.prepare(VAEObjective(vae, config.kl_weight), optimizer)

    samples = config.window_frames * to_mel.config.hop_length
    down = downsampling(vae)
    shape = (config.batch_size, config.latent_channels, config.window_frames // down, to_mel.config.n_mels // down)
    schedule = Schedule(config.steps, config.learning_rate, config.warmup_steps, config.max_minutes, spent)
    progress = tqdm(total=config.steps, initial=step, desc="vae", disable=not accelerator.is_main_process)
    bad = 0
    while (done := schedule.progress(step)) < 1.0:
        vae.train()
        index = step * accelerator.num_processes + accelerator.process_index
        waveform = sounds.batch(config.seed, index, config.batch_size, samples)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed((config.seed << 32) + index))
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(step)
        mel = to_mel(waveform.to(accelerator.device))
        with accelerator.autocast():
            loss, l1, kl = objective(mel, noise.to(mel.device))
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(objective.parameters(), config.grad_clip)
        bad = 0 if torch.isfinite(norm) else bad + 1
        if bad == 0:
            optimizer.step()
        elif bad == 10:
            raise UserError(f"10 steps in a row without a finite gradient, the last at step {step}")
        optimizer.zero_grad(set_to_none=True)
        step += 1
        progress.update()
        if not accelerator.is_main_process:
            continue
        if step % 20 == 0:
            progress.set_postfix(l1=f"{l1.item():.3f}", kl=f"{kl.item():.2f}", done=f"{done:.0%}")
            record = {"step": step, "l1": l1.item(), "kl": kl.item(), "lr": schedule.learning_rate(step)}
            record |= {"grad_norm": float(norm), "seconds": round(schedule.spent, 1)}
            if step % config.validation_every == 0:
                record |= validate(vae, held_out)
            with (output_dir / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
        if step % config.checkpointing_steps == 0 or schedule.progress(step) >= 1.0:
            optimizer_state = optimizer.state_dict()
            checkpointer.save(step, {"vae": vae.state_dict(), "optimizer": optimizer_state, "spent": schedule.spent})
    progress.close()
    logger.info("finished: %s", validate(vae, held_out))
    return export(vae, to_mel, sounds, config)


@torch.no_grad()
def validate(vae: AutoencoderKL, mel: Tensor) -> dict[str, float]:
    """Held-out mel L1 of the posterior mean's round trip, and statistics of the latents."""
    vae.eval()
    means, errors = [], []
    for rows in mel.split(8):
        mean = vae.encode(rows).latent_dist.mean
        errors.append((vae.decode(mean).sample - rows).abs().mean(dim=(1, 2, 3)))
        means.append(mean)
    latents = torch.cat(means)
    smooth = (latents[:, :, 1:] - latents[:, :, :-1]).std() / latents.std()
    return {
        "test_l1": torch.cat(errors).mean().item(),
        "latent_std": latents.std().item(),
        "latent_max": latents.abs().max().item(),
        "latent_step_ratio": smooth.item(),  # sqrt(2) is white noise over time, 0 is constant
    }


@torch.no_grad()
def export(vae: AutoencoderKL, mel: LogMel, sounds: CodecSounds, config: VAETrainingConfig) -> Path:
    """Measure scale_factor = sigma_data / std of the latents of 128 windows and write the codec folder in float16."""
    vae = vae.eval().float()
    samples = round(config.seconds * mel.config.sampling_rate)
    values = []
    for index in range(16):
        distribution = vae.encode(mel(sounds.batch(config.seed + 1, index, 8, samples).to(vae.device))).latent_dist
        noise = torch.randn(distribution.mean.shape, generator=torch.Generator().manual_seed(index))
        values.append(distribution.mean + distribution.std * noise.to(vae.device))
    std = torch.cat(values).std().item()
    codec = AudioLDMCodec(vae.cpu(), None, mel.cpu(), config.sigma_data / std, config.seconds)
    folder = Path(config.output_dir) / "codec"
    codec.save_pretrained(folder, torch.float16)
    return folder
