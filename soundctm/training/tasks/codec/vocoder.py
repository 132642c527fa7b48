"""Training of the vocoder: spectral losses first, then also against discriminators (hinge, feature matching).

    generator loss = mel_weight * log-mel L1 + stft_weight * STFT distance + score loss + feature_weight * feature L1

From `vae_from` of the training on, some rows are heard through the VAE: their log-mel is its round trip, their target
the real waveform, so that the vocoder learns to cope with decoded latents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from soundctm.audioldm import AudioLDMCodec
from soundctm.audioldm.vocoder import InverseSTFTVocoder
from soundctm.checkpoints import load_codec
from soundctm.config import option
from soundctm.data.rumble import CUTOFF
from soundctm.errors import UserError
from soundctm.files import whole_folder
from soundctm.training.inputs.rows import generator, generators
from soundctm.training.running import loop
from soundctm.training.running.options import RunConfig, start_accelerator
from soundctm.training.running.samples import write_clips
from soundctm.training.running.schedule import Schedule
from soundctm.training.running.start import start_from
from soundctm.training.tasks.codec.discriminators import (
    Discriminators,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from soundctm.training.tasks.codec.sounds import CodecSounds, WindowRows, Windows
from soundctm.training.tasks.codec.spectral import SpectralDistance
from soundctm.training.tasks.task import Moment, Outcome, Task, set_rate

WINDOW_SAMPLES = 40960  # sounds are composed at this length and a segment is cut from them
SAMPLING_RATE, HOP = 16000, 160
CROP = 1  # stream of random numbers


@dataclasses.dataclass(frozen=True)
class VocoderTrainingConfig(RunConfig):
    """Options of `ctm_train.py vocoder`."""

    corpus: str = option("data/corpus", "folder with corpus.csv and its clips")
    highpass: float = option(
        CUTOFF, "Hz below which the clips lose their rumble and offset; 0 leaves them", low=0, high=4000
    )
    output_dir: str = option("exp/vocoder", "where checkpoints, log and the finished codec go")
    vae: str | None = option(None, "codec folder with the trained VAE; needed for vae_from and for the finished codec")
    init: str | None = option(None, "codec folder whose vocoder the training starts from; none is a fresh start")
    channels: int = option(256, "width of the ConvNeXt blocks", low=1)
    hidden: int = option(768, "width inside a block", low=1)
    layers: int = option(8, "ConvNeXt blocks", low=1)
    n_fft: int = option(640, "samples per synthesis frame", low=1)
    refinements: int = option(1, "trained Griffin-Lim steps after the network", low=0)
    segment_frames: int = option(64, "mel frames per training segment", low=1, high=256)
    crop_samples: int = option(5120, "samples that the discriminators see of each segment", low=1)
    critic_rows: int = option(6, "segments of each batch that the discriminators see", low=1)
    batch_size: int = option(12, "segments per micro-batch and process", low=1)
    steps: int = option(20000, "training steps; the learning rates end at zero", low=1)
    learning_rate: float = option(7e-4, "peak of the vocoder's cosine schedule", above=0)
    discriminator_learning_rate: float = option(3e-4, "peak of the discriminators' cosine schedule", above=0)
    warmup_steps: int = option(200, "steps of linear warm-up", low=0)
    ema_decay: float = option(0.999, "decay of the averaged vocoder, which is validated and exported", low=0, high=1)
    mel_weight: float = option(15.0, "weight of the log-mel L1", low=0)
    stft_weight: float = option(4.0, "weight of the STFT distance", low=0)
    feature_weight: float = option(4.0, "weight of the feature matching", low=0)
    adversarial_from: float = option(0.3, "part of the training after which the discriminators enter", low=0)
    vae_from: float = option(0.5, "part of the training after which some mels come from the VAE", low=0)
    vae_rows: float = option(0.5, "part of each batch whose mels come from the VAE", low=0, high=1)
    grad_clip: float = option(100.0, "largest gradient norm of either side", above=0)
    log_every: int = option(50, "steps between log lines", low=1)
    validation_every: int = option(500, "steps between validations", aliases=("validation_steps",), low=0)
    checkpointing_steps: int = option(500, "steps between checkpoints", aliases=("save_interval",), low=0)


class VocoderTask(Task):
    """Vocoder and discriminators, each with its optimiser, and the vocoder's average."""

    name, metric, accumulates = "vocoder", "test_mel", False
    config: VocoderTrainingConfig

    def __init__(self, config: VocoderTrainingConfig) -> None:
        super().__init__(config, start_accelerator(config))
        self.shares = self.share_out(config.batch_size)
        self.codec = load_codec(config.vae).to(self.device) if config.vae else None
        self.distance = SpectralDistance().to(self.device)
        train, test = (CodecSounds(config.corpus, split, highpass=config.highpass) for split in ("train", "test"))
        self.source = Windows(train, config.seed, self.shares.total, WINDOW_SAMPLES)
        self.held_out = test.excerpts(64, WINDOW_SAMPLES)

        torch.manual_seed(config.seed)
        shape = {name: getattr(config, name) for name in ("channels", "hidden", "layers", "n_fft", "refinements")}
        self.vocoder = InverseSTFTVocoder(**shape)
        if config.init:
            given = load_codec(config.init).vocoder
            if given is None:
                raise UserError(f"the codec in {config.init} has no vocoder to start from")
            start_from(self.vocoder, given, config.init)
        self.average = InverseSTFTVocoder.from_config(self.vocoder.config).requires_grad_(False).to(self.device)
        self.average.load_state_dict(self.vocoder.state_dict())
        self.critic = Discriminators()
        self.model, self.judge = self.vocoder, self.critic
        self.optimizer, self.critic_optimizer = (
            torch.optim.AdamW(module.parameters(), betas=(0.8, 0.99), weight_decay=0.01)
            for module in (self.vocoder, self.critic)
        )
        self.parts = {
            "vocoder": self.vocoder,
            "average": self.average,
            "critic": self.critic,
            "optimizer": self.optimizer,
            "critic_optimizer": self.critic_optimizer,
        }
        self.peak_rate, self.grad_clip = config.learning_rate, config.grad_clip
        self.schedule = Schedule(config.steps, config.warmup_steps, config.max_minutes)

    def prepare(self) -> None:
        self.model, self.judge, self.optimizer, self.critic_optimizer = self.accelerator.prepare(
            self.vocoder, self.critic, self.optimizer, self.critic_optimizer
        )
        self.parts |= {"optimizer": self.optimizer, "critic_optimizer": self.critic_optimizer}

    def set_rates(self, factor: float) -> None:
        super().set_rates(factor)
        set_rate(self.critic_optimizer, self.config.discriminator_learning_rate * factor)

    def zero_grad(self) -> None:
        super().zero_grad()
        self.critic_optimizer.zero_grad(set_to_none=True)

    def outcome(self, batch: WindowRows, moment: Moment) -> Outcome:
        config, draws = self.config, generators(self.config.seed, moment.step, batch.rows)
        target = segments(batch.waveforms, config.segment_frames, draws).to(self.device)
        mel = self.distance.mels[0](target)
        if self.codec is not None and moment.done >= config.vae_from:
            with self.accelerator.autocast():
                hear_through_vae(self.codec, mel, round(len(mel) * config.vae_rows), draws)
        estimate = self.model(mel[:, 0])
        terms = {"mel": self.distance.mel(estimate, target), "stft": self.distance.stft(estimate, target)}
        loss = config.mel_weight * terms["mel"] + config.stft_weight * terms["stft"]
        if moment.done >= config.adversarial_from:
            room = target.shape[1] - config.crop_samples
            start = int(torch.randint(room + 1, (), generator=generator(config.seed, moment.step, stream=CROP)))
            crop = (slice(-config.critic_rows, None), slice(start, start + config.crop_samples))
            terms |= self.adversarial_terms(target[crop], estimate[crop])
            loss = loss + terms["score"] + config.feature_weight * terms["features"]
        return Outcome(loss, {name: term.detach() for name, term in terms.items()})

    def adversarial_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Train the discriminators one step on waveforms [B, samples], then judge `fake` with gradients to it alone."""
        loss = discriminator_loss(self.judge(real), self.judge(fake.detach()))
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.judge.parameters(), self.config.grad_clip)
        if torch.isfinite(norm):  # of gradients averaged over the processes, so all decide alike
            self.critic_optimizer.step()
        self.critic.requires_grad_(False)
        real_maps, fake_maps = self.critic(real), self.critic(fake)
        terms = {"score": generator_loss(fake_maps), "features": feature_loss(real_maps, fake_maps)}
        self.critic.requires_grad_(True)
        return terms | {"critic": loss.detach()}

    @torch.no_grad()
    def updated(self, moment: Moment) -> None:
        decay = min(self.config.ema_decay, (1 + moment.step) / (10 + moment.step))
        torch._foreach_lerp_(list(self.average.parameters()), list(self.vocoder.parameters()), 1 - decay)

    def validate(self) -> dict[str, float]:
        return validate(self.average, self.distance, self.held_out.to(self.device))

    @torch.no_grad()
    def write_samples(self, folder: Path | None) -> dict[str, float]:
        real = self.held_out[: self.config.sample_clips].to(self.device)
        made = self.average(self.distance.mels[0](real)[:, 0])
        names = [f"held-out clip {number}" for number in range(len(real))]
        for kind, audio in (("original", real), ("resynthesised", made)):
            write_clips(folder / kind, audio.float().clamp(-1, 1).cpu().numpy(), names, SAMPLING_RATE)
        return {}

    @property
    def result(self) -> Path:
        return Path(self.config.output_dir) / ("codec" if self.config.vae else "vocoder")

    def export(self) -> None:
        export(self.average, self.config)


def train(config: VocoderTrainingConfig) -> Path:
    """Train; then write and return `<output_dir>/codec`, or `<output_dir>/vocoder` alone if no VAE was given."""
    return loop.train(VocoderTask, config)


def hear_through_vae(codec: AudioLDMCodec, mel: Tensor, count: int, draws: Sequence[torch.Generator]) -> None:
    """Replace `count` rows of log-mels [B, 1, T, mels], spread over the batch, by their VAE round trip, in place.

    `draws` has a generator per row of the batch.
    """
    rows = [row * len(mel) // count for row in range(count)]
    if rows:
        mel[rows] = codec.decode_mel(codec.encode_mel(mel[rows], [draws[row] for row in rows])).float()


def segments(windows: Tensor, frames: int, draws: Iterable[torch.Generator]) -> Tensor:
    """Of each window [B, samples] the louder one of two cuts of `frames` mel frames: [B, frames * hop]."""
    length = frames * HOP
    cuts = []
    for window, draw in zip(windows, draws, strict=True):
        starts = torch.randint(windows.shape[1] - length + 1, (2,), generator=draw).tolist()
        cuts.append(max((window[start : start + length] for start in starts), key=lambda cut: cut.abs().max().item()))
    return torch.stack(cuts)


@torch.no_grad()
def validate(vocoder: nn.Module, distance: SpectralDistance, waveform: Tensor) -> dict[str, float]:
    """Held-out distances of resynthesised true mels: the codec's mel L1, the multi-resolution STFT distance."""
    pairs = [(vocoder(distance.mels[0](rows)[:, 0]), rows) for rows in waveform.split(8)]
    estimate, target = (torch.cat(part) for part in zip(*pairs, strict=True))
    return {
        "test_mel": distance.codec_mel(estimate, target).item(),
        "test_stft": distance.stft(estimate, target).item(),
    }


def export(vocoder: InverseSTFTVocoder, config: VocoderTrainingConfig) -> Path:
    """Write the averaged vocoder in float16, and the whole codec if the VAE is known."""
    output_dir = Path(config.output_dir)
    vocoder = vocoder.cpu().eval()
    if config.vae is None:
        with whole_folder(output_dir / "vocoder", replace=True, mark="config.json") as folder:
            nn.Module.to(vocoder, torch.float16).save_pretrained(folder)
        return output_dir / "vocoder"
    codec = load_codec(config.vae)
    codec.vocoder = vocoder
    with whole_folder(output_dir / "codec", replace=True, mark="config.json") as folder:
        codec.save_pretrained(folder, torch.float16)
    return output_dir / "codec"
