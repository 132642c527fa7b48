"""Training of the mel VAE: L1 between log-mels plus a small Kullback-Leibler term.

    loss = mean |decode(z) - mel| + kl_weight * mean_latents KL(N(mean, std²) || N(0, 1)),   z = mean + std * noise

Afterwards `scale_factor` is measured such that the latents of training windows have the standard deviation sigma_data.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from soundctm.audioldm import AudioLDMCodec, LogMel, MelConfig
from soundctm.audioldm.codec import HEADROOM
from soundctm.audioldm.library import AutoencoderKL
from soundctm.audioldm.vae import build_vae, downsampling
from soundctm.checkpoints import load_codec
from soundctm.config import option
from soundctm.data.rumble import CUTOFF
from soundctm.files import whole_folder
from soundctm.training.inputs.rows import generators, normal
from soundctm.training.running import loop
from soundctm.training.running.options import RunConfig, start_accelerator
from soundctm.training.running.schedule import Schedule
from soundctm.training.running.start import start_from
from soundctm.training.tasks.codec.sounds import CodecSounds, WindowRows, Windows
from soundctm.training.tasks.task import Moment, Outcome, Task

MEAN_LOG_MEL = -7.0  # of the corpus, roughly


@dataclasses.dataclass(frozen=True)
class VAETrainingConfig(RunConfig):
    """Options of `ctm_train.py vae`."""

    corpus: str = option("data/corpus", "folder with corpus.csv and its clips")
    highpass: float = option(
        CUTOFF, "Hz below which clips lose their rumble and offset, read or made; 0 leaves them", low=0, high=4000
    )
    output_dir: str = option("exp/vae", "where checkpoints, log and the finished codec go")
    init: str | None = option(None, "codec folder whose VAE weights the training starts from; none is a fresh start")
    channels: tuple[int, ...] = option((32, 64, 128), "VAE channels per level; levels halve time and mel", low=1)
    layers_per_block: int = option(1, "ResNet layers per level", low=1)
    latent_channels: int = option(8, "channels of the latents", low=1)
    norm_num_groups: int = option(16, "groups of the group norms", low=1)
    window_frames: int = option(128, "mel frames per training window", low=1)
    batch_size: int = option(4, "windows per micro-batch and process", low=1)
    steps: int = option(3000, "training steps; the learning rate ends at zero", low=1)
    learning_rate: float = option(5e-4, "peak of the cosine schedule", above=0)
    warmup_steps: int = option(100, "steps of linear warm-up", low=0)
    grad_clip: float = option(1.0, "largest gradient norm", above=0)
    kl_weight: float = option(2e-2, "weight of the mean KL per latent value", low=0)
    sigma_data: float = option(0.25, "standard deviation that scale_factor gives the latents", above=0)
    seconds: float = option(2.56, "clip length written as the codec's default", above=0)
    validation_every: int = option(200, "steps between validations", aliases=("validation_steps",), low=0)
    checkpointing_steps: int = option(200, "steps between checkpoints", aliases=("save_interval",), low=0)


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


class VAETask(Task):
    """The VAE and its optimiser."""

    name, metric = "vae", "test_l1"
    config: VAETrainingConfig

    def __init__(self, config: VAETrainingConfig) -> None:
        super().__init__(config, start_accelerator(config))
        self.shares = self.share_out(config.batch_size)
        self.mel = LogMel(MelConfig()).to(self.device)
        self.sounds = CodecSounds(config.corpus, "train", self.mel.config.sampling_rate, config.highpass)
        samples = config.window_frames * self.mel.config.hop_length
        self.source = Windows(self.sounds, config.seed, self.shares.total, samples)
        held_out = CodecSounds(config.corpus, "test", self.mel.config.sampling_rate, config.highpass)
        self.held_out = self.mel(held_out.excerpts(64, 40960).to(self.device))

        torch.manual_seed(config.seed)
        self.vae = build_vae(config.channels, config.layers_per_block, config.latent_channels, config.norm_num_groups)
        nn.init.constant_(self.vae.decoder.conv_out.bias, MEAN_LOG_MEL)  # spares the first hundred steps
        if config.init:
            start_from(self.vae, load_codec(config.init).vae, config.init)
        down = downsampling(self.vae)
        self.latent_shape = (config.latent_channels, config.window_frames // down, self.mel.config.n_mels // down)
        self.model = VAEObjective(self.vae, config.kl_weight)
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.parts = {"vae": self.vae, "optimizer": self.optimizer}
        self.peak_rate, self.grad_clip = config.learning_rate, config.grad_clip
        self.schedule = Schedule(config.steps, config.warmup_steps, config.max_minutes)

    def outcome(self, batch: WindowRows, moment: Moment) -> Outcome:
        self.vae.train()
        noise = normal(self.latent_shape, generators(self.config.seed, moment.step, batch.rows))
        loss, l1, kl = self.model(self.mel(batch.waveforms.to(self.device)), noise.to(self.device))
        return Outcome(loss, {"l1": l1, "kl": kl})

    def validate(self) -> dict[str, float]:
        return validate(self.vae, self.held_out)

    @property
    def result(self) -> Path:
        return Path(self.config.output_dir) / "codec"

    def export(self) -> None:
        export(self.vae, self.mel, self.sounds, self.config)


def train(config: VAETrainingConfig) -> Path:
    """Train, then write `<output_dir>/codec` (without a vocoder) and return its path."""
    return loop.train(VAETask, config)


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
    codec = AudioLDMCodec(
        vae.cpu(), None, mel.cpu(), config.sigma_data / std, config.seconds, highpass=config.highpass, peak=HEADROOM
    )
    folder = Path(config.output_dir) / "codec"
    with whole_folder(folder, replace=True, mark="config.json") as temporary:
        codec.save_pretrained(temporary, torch.float16)
    return folder
