"""Training of the codec on a corpus of synthetic clips: it runs, improves, resumes bitwise, and writes a codec."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest
import soundfile
import torch

from soundctm.audioldm import AudioLDMCodec
from soundctm.errors import UserError
from soundctm.training.running.checkpointing import Checkpointer
from soundctm.training.running.schedule import Schedule
from soundctm.training.tasks.codec import vae, vocoder
from soundctm.training.tasks.codec.discriminators import (
    Discriminators,
    discriminator_loss,
    feature_loss,
    generator_loss,
)
from soundctm.training.tasks.codec.sounds import CodecSounds, normalise
from soundctm.training.tasks.codec.spectral import SpectralDistance


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A short tone (its label twice), a long chirp and a held-out noise."""
    folder = tmp_path_factory.mktemp("corpus")
    seconds = np.arange(60000) / 16000
    clips = {
        "tone.wav": ("tone", "train", np.sin(2 * np.pi * 440 * seconds[:4000])),
        "tone2.wav": ("tone", "train", np.sin(2 * np.pi * 660 * seconds[:8000])),
        "chirp.wav": ("chirp", "train", np.sin(2 * np.pi * 500 * seconds**2)),
        "noise.wav": ("noise", "test", np.random.default_rng(0).standard_normal(9000) * 0.2),
    }
    with (folder / "corpus.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file_name", "caption", "label", "split"])
        writer.writeheader()
        for name, (label, split, samples) in clips.items():
            soundfile.write(folder / name, 0.3 * samples + 0.01, 16000)
            writer.writerow({"file_name": name, "caption": f"a {label}", "label": label, "split": split})
    return folder


def test_windows_are_a_function_of_seed_and_index(corpus):
    sounds = CodecSounds(corpus, "train")
    batch = sounds.batch(seed=3, step=5, size=4, samples=20000)
    assert batch.shape == (4, 20000) and torch.isfinite(batch).all()
    assert torch.equal(batch[2], CodecSounds(corpus, "train").window(3, 22, 20000))
    assert not torch.equal(batch[0], batch[1])


def test_levels_are_those_of_the_loader(corpus):
    sounds = CodecSounds(corpus, "train")
    peaks = torch.stack([sounds.window(0, i, 20000) for i in range(60)]).abs().amax(1)
    assert ((peaks - 0.5).abs() < 1e-5).float().mean() > 0.6 and peaks.max() < 1
    assert np.all(normalise(np.full(10, 0.3, np.float32)) == 0)
    assert torch.allclose(sounds.excerpts(2, 40960).abs().amax(1), torch.tensor(0.5))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"file_name,label,split\n../../x.ogg,a,train\n", "leads out of its folder"),
        (b"file_name,label,split\n\xff.ogg,a,train\n", "line 2: it is not UTF-8"),
        (b"file_name,split\na.ogg,train\n", "no column 'label'"),
        (b"file_name,label,split\n" + b"a" * 200_000 + b",a,train\n", "a cell has more than"),
    ],
)
def test_a_wrong_corpus_table_is_one_sentence(tmp_path, content, words):
    (tmp_path / "corpus.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        CodecSounds(tmp_path, "train")


def test_a_corpus_that_is_not_there_is_named(tmp_path, corpus):
    with pytest.raises(UserError, match="no corpus table at"):
        CodecSounds(tmp_path, "train")
    with pytest.raises(UserError, match="no existing clip of the split validation"):
        CodecSounds(corpus, "validation")


def test_schedule_ends_at_zero():
    schedule = Schedule(100, 10)
    rates = [schedule.factor(step, 0.0) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[100] == 0 and max(rates) == pytest.approx(rates[9], rel=0.01)
    assert rates[50] == pytest.approx(0.5)
    assert Schedule(100, 1, shape="constant").factor(99, 0.0) == 1
    timed = Schedule(10**9, 1, max_minutes=1.0)
    assert timed.progress(0, spent=30.0) == 0.5 and timed.factor(0, 60.0) == 0
    assert timed.remaining(10, 30.0, 0, 0.0) == 30.0 and schedule.remaining(60, 30.0, 40, 10.0) == 40.0


def test_spectral_distance_is_zero_at_equality_and_blind_to_nothing():
    distance = SpectralDistance()
    waveform = 0.1 * torch.randn(2, 10240, generator=torch.Generator().manual_seed(0))
    silence = torch.zeros_like(waveform)
    for measure in (distance.stft, distance.mel, distance.codec_mel):
        assert measure(waveform, waveform) == 0
        assert measure(silence, waveform) > 0.5
        assert torch.isfinite(measure(waveform, silence))


def test_discriminators_tell_apart_what_they_are_trained_on():
    torch.manual_seed(0)
    critic = Discriminators((256,), (2,), channels=4)
    optimizer = torch.optim.Adam(critic.parameters(), 5e-3)
    real = torch.sin(torch.arange(2048) * torch.tensor([[0.1], [0.3]]))
    fake = 0.3 * torch.randn(2, 2048)
    for _ in range(25):
        loss = discriminator_loss(critic(real), critic(fake))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.0
    assert generator_loss(critic(real)) < generator_loss(critic(fake))
    assert feature_loss(critic(real), critic(real)) == 0


def vae_config(corpus, output_dir, **changes) -> vae.VAETrainingConfig:
    options = {
        "channels": (8, 8, 16),
        "norm_num_groups": 4,
        "window_frames": 16,
        "batch_size": 2,
        "steps": 6,
        "warmup_steps": 1,
        "checkpointing_steps": 2,
        "validation_every": 20,
        "keep_last": 3,
        "mixed_precision": "no",
        "sample_clips": 0,
        "cpu": True,
        "seconds": 0.32,
    }
    return vae.VAETrainingConfig(corpus=str(corpus), output_dir=str(output_dir), **(options | changes))


@pytest.fixture(scope="module")
def trained_vae(corpus, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("vae")
    return vae.train(vae_config(corpus, output_dir))


def test_vae_training_resumes_bitwise(corpus, tmp_path, trained_vae):
    halfway = trained_vae.parent / "checkpoint-00000002"
    again = vae.train(vae_config(corpus, tmp_path, resume_from_checkpoint=str(halfway)))
    for name in ("vae/diffusion_pytorch_model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (trained_vae / name).read_bytes()
    assert Checkpointer(tmp_path).latest()[0] == 6


def test_vae_codec_has_latents_of_the_wished_spread(corpus, trained_vae):
    codec = AudioLDMCodec.from_pretrained(trained_vae)
    assert codec.vocoder is None and codec.latent_shape() == (8, 8, 16)
    waveform = CodecSounds(corpus, "train").batch(1, 0, 64, 5120)
    assert codec.encode(waveform, torch.Generator().manual_seed(0)).std().item() == pytest.approx(0.25, rel=0.1)


def test_vae_learns(corpus, tmp_path):
    vae.train(vae_config(corpus, tmp_path, steps=40, learning_rate=3e-3, checkpointing_steps=40))
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert records[-1]["l1"] < records[0]["l1"] < 4
    assert math.isfinite(records[-1]["test_l1"])


def vocoder_config(corpus, output_dir, codec, **changes) -> vocoder.VocoderTrainingConfig:
    options = {
        "channels": 16,
        "hidden": 16,
        "layers": 1,
        "segment_frames": 32,
        "crop_samples": 2048,
        "batch_size": 2,
        "critic_rows": 1,
        "steps": 6,
        "warmup_steps": 1,
        "adversarial_from": 0.3,
        "checkpointing_steps": 3,
        "keep_last": 3,
        "mixed_precision": "no",
        "sample_clips": 0,
        "cpu": True,
        "vae": str(codec),
    }
    return vocoder.VocoderTrainingConfig(corpus=str(corpus), output_dir=str(output_dir), **(options | changes))


def test_vocoder_training_resumes_bitwise_through_all_its_phases(corpus, tmp_path, trained_vae):
    whole = vocoder.train(vocoder_config(corpus, tmp_path / "whole", trained_vae))
    halfway = tmp_path / "whole" / "checkpoint-00000003"
    again = vocoder.train(vocoder_config(corpus, tmp_path / "again", trained_vae, resume_from_checkpoint=str(halfway)))
    name = "vocoder/diffusion_pytorch_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
    codec = AudioLDMCodec.from_pretrained(whole)
    assert codec.decode(codec.encode(torch.zeros(1, 5120))).shape == (1, 5120)


def test_vocoder_starts_from_a_given_one(corpus, tmp_path, trained_vae):
    whole = vocoder.train(vocoder_config(corpus, tmp_path / "first", trained_vae, steps=1, adversarial_from=2.0))
    task = vocoder.VocoderTask(vocoder_config(corpus, tmp_path / "next", trained_vae, init=str(whole), seed=7))
    given = AudioLDMCodec.from_pretrained(whole).vocoder.state_dict()
    for part in (task.vocoder, task.average):
        assert all(torch.equal(value, given[name]) for name, value in part.state_dict().items())
    with pytest.raises(UserError, match="has no vocoder to start from"):
        vocoder.VocoderTask(vocoder_config(corpus, tmp_path / "next", trained_vae, init=str(trained_vae)))


def test_vocoder_without_vae_is_written_alone(corpus, tmp_path):
    config = vocoder_config(corpus, tmp_path, "", steps=1, adversarial_from=2.0, sample_clips=1)
    config = dataclasses.replace(config, vae=None)
    assert sorted(p.name for p in vocoder.train(config).iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    for kind in ("original", "resynthesised"):
        assert soundfile.info(tmp_path / "samples" / "step-00000001" / kind / "00.wav").frames == 40960
