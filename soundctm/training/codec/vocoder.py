"""Training of the vocoder: spectral losses first, then also against discriminators (hinge, feature matching).

    generator loss = mel_weight * log-mel L1 + stft_weight * STFT distance + score loss + feature_weight * feature L1

From `vae_from` of the training on, some rows are heard through the VAE: their log-mel is its round trip, their target
the real waveform, so that the vocoder learns to cope with decoded latents.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from audioldm import AudioLDMCodec
from audioldm.vocoder import InverseSTFTVocoder
from soundctm.config import option, save_config
from soundctm.errors import UserError
from soundctm.training.checkpointing import Checkpointer
from soundctm.training.codec.discriminators import Discriminators, discriminator_loss, feature_loss, generator_loss
from soundctm.training.codec.sounds import CodecSounds
from soundctm.training.codec.spectral import SpectralDistance
from soundctm.training.schedule import Schedule

logger = logging.getLogger(__name__)

WINDOW_SAMPLES = 40960  # sounds are composed at this length and a segment is cut from them


@dataclasses.dataclass(frozen=True)
class VocoderTrainingConfig:
    """Options of `ctm_train.py vocoder`."""

    corpus: str = option("data/corpus", "folder with corpus.csv and its clips")
    output_dir: str = option("exp/vocoder", "where checkpoints, log and the finished codec go")
    vae: str | None = option(None, "codec folder with the trained VAE; needed for vae_from and for the finished codec")
    channels: int = option(256, "width of the ConvNeXt blocks")
    hidden: int = option(768, "width inside a block")
    layers: int = option(8, "ConvNeXt blocks")
    n_fft: int = option(640, "samples per synthesis frame")
    refinements: int = option(1, "trained Griffin-Lim steps after the network")
    segment_frames: int = option(64, "mel frames per training segment")
    crop_samples: int = option(5120, "samples that the discriminators see of each segment")
    critic_rows: int = option(6, "segments of each batch that the discriminators see")
    batch_size: int = option(12, "segments per step")
    steps: int = option(20000, "training steps; the learning rates end at zero")
    max_minutes: float = option(0.0, "end, with the learning rates at zero, after this time; 0 is no limit")
    learning_rate: float = option(7e-4, "peak of the vocoder's cosine schedule")
    discriminator_learning_rate: float = option(3e-4, "peak of the discriminators' cosine schedule")
    warmup_steps: int = option(200, "steps of linear warm-up")
    ema_decay: float = option(0.999, "decay of the averaged vocoder, which is what is validated and exported")
    mel_weight: float = option(15.0, "weight of the log-mel L1")
    stft_weight: float = option(4.0, "weight of the STFT distance")
    feature_weight: float = option(4.0, "weight of the feature matching")
    adversarial_from: float = option(0.3, "part of the training after which the discriminators enter")
    vae_from: float = option(0.5, "part of the training after which some mels come from the VAE")
    vae_rows: float = option(0.5, "part of each batch whose mels come from the VAE")
    grad_clip: float = option(100.0, "largest gradient norm of either side")
    mixed_precision: str = option("bf16", "accelerate precision", choices=("no", "bf16"))
    cpu: bool = option(False, "use the CPU even if there is a GPU")
    seed: int = option(0, "seed of weights and segments")
    validation_every: int = option(500, "steps between validations")
    checkpointing_steps: int = option(500, "steps between checkpoints")
    keep_last: int = option(2, "checkpoints kept")
    resume_from_checkpoint: str | None = option("latest", "latest, a checkpoint folder, or none")


def train(config: VocoderTrainingConfig) -> Path:
    """Train; then write and return `<output_dir>/codec`, or `<output_dir>/vocoder` alone if no VAE was given."""
    output_dir = Path(config.output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    save_config(config, output_dir / "training_config.yaml")
    accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=config.cpu)
    if config.max_minutes > 0 and accelerator.num_processes > 1:
        raise UserError("max_minutes ends each process at its own step; with several processes use steps")
    device = accelerator.device
    codec = AudioLDMCodec.from_pretrained(config.vae).to(device) if config.vae else None
    distance = SpectralDistance().to(device)
    sounds = CodecSounds(config.corpus, "train")
    held_out = CodecSounds(config.corpus, "test").excerpts(64, WINDOW_SAMPLES)

    torch.manual_seed(config.seed)
    vocoder = InverseSTFTVocoder(
        channels=config.channels,
        hidden=config.hidden,
        layers=config.layers,
        n_fft=config.n_fft,
        refinements=config.refinements,
    )
    average = InverseSTFTVocoder.from_config(vocoder.config).requires_grad_(False)
    average.load_state_dict(vocoder.state_dict())
    critic = Discriminators()
    parts = {"vocoder": vocoder, "average": average, "critic": critic}
    parts["optimizer"] = torch.optim.AdamW(vocoder.parameters(), betas=(0.8, 0.99), weight_decay=0.01)
    parts["critic_optimizer"] = torch.optim.AdamW(critic.parameters(), betas=(0.8, 0.99), weight_decay=0.01)
    checkpointer = Checkpointer(output_dir, config.keep_last)
    step, spent = 0, 0.0
    if (found := checkpointer.resume(config.resume_from_checkpoint)) is not None:
        step, state = found
        for name, part in parts.items():
            part.load_state_dict(state[name])
        spent = state["spent"]
        logger.info("resumed at step %d", step)
    average.to(device)
    vocoder_, critic_, optimizer, critic_optimizer = accelerator.prepare(
        vocoder, critic, parts["optimizer"], parts["critic_optimizer"]
    )

    schedule = Schedule(config.steps, config.learning_rate, config.warmup_steps, config.max_minutes, spent)
    progress = tqdm(total=config.steps, initial=step, desc="vocoder", disable=not accelerator.is_main_process)
    bad = 0
    while (done := schedule.progress(step)) < 1.0:
        index = step * accelerator.num_processes + accelerator.process_index
        target = segments(sounds, config, index).to(device)
        mel = distance.mels[0](target)
        if codec is not None and done >= config.vae_from:
            with accelerator.autocast():
                hear_through_vae(codec, mel, round(config.batch_size * config.vae_rows), _generator(config, index))
        rate = schedule.learning_rate(step)
        _set_rate(optimizer, rate)
        _set_rate(critic_optimizer, rate * config.discriminator_learning_rate / config.learning_rate)

        with accelerator.autocast():
            estimate = vocoder_(mel[:, 0])
        terms = {"mel": distance.mel(estimate, target), "stft": distance.stft(estimate, target)}
        loss = config.mel_weight * terms["mel"] + config.stft_weight * terms["stft"]
        if done >= config.adversarial_from:
            room = target.shape[1] - config.crop_samples
            start = int(torch.randint(room + 1, (), generator=_generator(config, index)))
            crop = (slice(-config.critic_rows, None), slice(start, start + config.crop_samples))
            terms |= adversarial_terms(accelerator, critic_, critic_optimizer, target[crop], estimate[crop], config)
            loss = loss + terms["score"] + config.feature_weight * terms["features"]
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(vocoder_.parameters(), config.grad_clip)
        bad = 0 if torch.isfinite(norm) else bad + 1
        if bad == 0:
            optimizer.step()
            decay = min(config.ema_decay, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(vocoder.parameters()), 1 - decay)
        elif bad == 10:
            raise UserError(f"10 steps in a row without a finite gradient, the last at step {step}")
        optimizer.zero_grad(set_to_none=True)
        critic_optimizer.zero_grad(set_to_none=True)

        step += 1
        progress.update()
        if not accelerator.is_main_process:
            continue
        if step % 50 == 0:
            progress.set_postfix(mel=f"{terms['mel'].item():.3f}", done=f"{done:.0%}")
            record = {"step": step, **{name: term.item() for name, term in terms.items()}, "lr": rate}
            record |= {"grad_norm": float(norm), "seconds": round(schedule.spent, 1)}
            if step % config.validation_every == 0:
                record |= validate(average, distance, held_out.to(device))
            with (output_dir / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(record) + "\n")
        if step % config.checkpointing_steps == 0 or schedule.progress(step) >= 1.0:
            checkpointer.save(step, {name: p.state_dict() for name, p in parts.items()} | {"spent": schedule.spent})
    progress.close()
    logger.info("finished: %s", validate(average, distance, held_out.to(device)))
    return export(average, config)


def adversarial_terms(
    accelerator: Accelerator,
    critic: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    config: VocoderTrainingConfig,
) -> dict[str, Tensor]:
    """Train the discriminators one step on waveforms [B, samples], then judge `fake` with gradients to it alone."""
    with accelerator.autocast():
        loss = discriminator_loss(critic(real), critic(fake.detach()))
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(critic.parameters(), config.grad_clip)
    optimizer.step()
    critic.requires_grad_(False)
    with accelerator.autocast():
        real_maps, fake_maps = critic(real), critic(fake)
        terms = {"score": generator_loss(fake_maps), "features": feature_loss(real_maps, fake_maps)}
    critic.requires_grad_(True)
    return terms | {"critic": loss.detach()}


def hear_through_vae(codec: AudioLDMCodec, mel: Tensor, count: int, generator: torch.Generator) -> None:
    """Replace `count` rows of log-mels [B, 1, T, mels], spread over the batch, by their VAE round trip, in place."""
    rows = torch.arange(count) * len(mel) // max(1, count)
    mel[rows] = codec.decode_mel(codec.encode_mel(mel[rows], generator)).float()


def segments(sounds: CodecSounds, config: VocoderTrainingConfig, index: int) -> Tensor:
    """Waveform segments [batch, segment_frames * hop] of step `index`, the louder of two cuts from each window."""
    windows = sounds.batch(config.seed, index, config.batch_size, WINDOW_SAMPLES)
    length = config.segment_frames * 160
    starts = torch.randint(WINDOW_SAMPLES - length + 1, (len(windows), 2), generator=_generator(config, index)).tolist()
    cuts = [[window[a : a + length] for a in pair] for window, pair in zip(windows, starts, strict=True)]
    return torch.stack([max(pair, key=lambda cut: cut.abs().max().item()) for pair in cuts])


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
        nn.Module.to(vocoder, torch.float16).save_pretrained(output_dir / "vocoder")
        return output_dir / "vocoder"
    codec = AudioLDMCodec.from_pretrained(config.vae)
    codec.vocoder = vocoder
    codec.save_pretrained(output_dir / "codec", torch.float16)
    return output_dir / "codec"


def _generator(config: VocoderTrainingConfig, index: int) -> torch.Generator:
    return torch.Generator().manual_seed((config.seed << 32) + index)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
