"""The latent cache: right moments, reuse for the same key only, no damaged file."""

from __future__ import annotations

import pytest
import torch
from corpus_fixture import write_corpus
from safetensors.torch import save_file
from torch import nn

from soundctm.data import latents
from soundctm.data.compose import ComposedCorpus
from soundctm.data.corpus import load_corpus
from soundctm.data.latents import latent_dataset, read_latents
from soundctm.errors import UserError


class TinyCodec(nn.Module):
    """The interface that the cache needs: a "mel" of 64 frame energies and a linear "VAE"."""

    device = "cpu"

    def __init__(self):
        super().__init__()
        self.scale_factor = 2.0
        self.calls = 0
        self.vae = nn.Module()
        self.vae.weight = nn.Parameter(torch.ones(1))

    def encoder_state(self):
        return self.vae.state_dict()

    def mel(self, waveform):
        return waveform.reshape(len(waveform), 1, -1, 64)[:, :, :41]

    @torch.no_grad()
    def moments(self, waveform):
        self.calls += 1
        mean = self.mel(waveform)[:, :, :40].mean(3, keepdim=True) * self.vae.weight
        return mean, torch.full_like(mean, -4.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = write_corpus(tmp_path_factory.mktemp("corpus") / "c")
    return ComposedCorpus(load_corpus(root, "train"), root, seed=1)


def test_moments_and_reuse(corpus, tmp_path):
    codec, path = TinyCodec(), tmp_path / "cache" / "latents.safetensors"
    built = latent_dataset(corpus, codec, 5, path, batch_size=2, progress=False)
    assert codec.calls == 3 and len(built) == 5 and built.mean.dtype == torch.float16
    waveform, caption, label = corpus[3]
    mean, logvar, stored = built[3]
    torch.testing.assert_close(mean, codec.mel(waveform[None])[0, :, :40].mean(2, keepdim=True), atol=1e-3, rtol=1e-2)
    assert stored == caption and built.labels[3] == label
    again = latent_dataset(corpus, codec, 5, path, progress=False)
    assert codec.calls == 3  # read, not built
    assert torch.equal(again.mean, built.mean) and again.captions == built.captions
    assert [p.name for p in path.parent.iterdir()] == ["latents.safetensors"]


def test_workers_compose_the_same_items(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "PART", 2)
    alone, helped = (
        latent_dataset(corpus, TinyCodec(), 7, tmp_path / f"{n}.safetensors", batch_size=2, workers=n, progress=False)
        for n in (0, 2)
    )
    # a worker computes with one thread, which rounds otherwise than several
    torch.testing.assert_close(alone.mean, helped.mean, atol=1e-4, rtol=2e-3)
    assert alone.captions == helped.captions


def test_another_vae_or_count_builds_again(corpus, tmp_path):
    codec, path = TinyCodec(), tmp_path / "latents.safetensors"
    latent_dataset(corpus, codec, 2, path, progress=False)
    codec.vae.weight.data += 1
    changed = latent_dataset(corpus, codec, 2, path, progress=False)
    assert codec.calls == 2
    assert len(latent_dataset(corpus, codec, 3, path, progress=False)) == 3
    assert codec.calls == 3 and len(changed) == 2


def test_damaged_file_is_built_again(corpus, tmp_path):
    path = tmp_path / "latents.safetensors"
    good = latent_dataset(corpus, TinyCodec(), 2, path, progress=False)
    header = {"captions": "5", "labels": "[]", "scale_factor": "1"}
    save_file({"mean": good.mean, "logvar": good.logvar}, path, header)
    assert read_latents(path) is None
    path.write_bytes(b"half a file")
    assert read_latents(path) is None
    assert len(latent_dataset(corpus, TinyCodec(), 2, path, progress=False)) == 2
    assert len(read_latents(path)) == 2


def test_a_killed_encoding_goes_on_after_its_last_part_to_the_same_moments(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "PART", 2)
    whole = latent_dataset(corpus, TinyCodec(), 11, tmp_path / "whole.safetensors", batch_size=2, progress=False)

    class Killed(BaseException):
        pass

    class Dying(TinyCodec):
        def moments(self, waveform):
            if self.calls == 5:
                raise Killed
            return super().moments(waveform)

    path = tmp_path / "cache" / "latents.safetensors"
    with pytest.raises(Killed):
        latent_dataset(corpus, Dying(), 11, path, batch_size=2, progress=False)
    parts = sorted(path.parent.rglob("*.safetensors"))
    assert [part.name for part in parts] == ["00000000.safetensors", "00000004.safetensors"]
    parts[1].write_bytes(b"")  # one of them damaged
    codec = TinyCodec()
    again = latent_dataset(corpus, codec, 11, path, batch_size=2, progress=False)
    assert codec.calls == 4  # of 6 batches
    assert torch.equal(again.mean, whole.mean) and torch.equal(again.logvar, whole.logvar)
    assert again.captions == whole.captions and again.labels == whole.labels
    assert [p.name for p in path.parent.iterdir()] == ["latents.safetensors"]


def test_draw_is_scaled_and_reproducible(corpus, tmp_path):
    data = latent_dataset(corpus, TinyCodec(), 4, tmp_path / "l.safetensors", progress=False)
    index = torch.tensor([2, 0])
    drawn = data.draw(index, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, data.draw(index, torch.Generator().manual_seed(0)))
    noise = drawn / 2.0 - data.mean[index].float()
    assert noise.std().item() == pytest.approx(0.1353, rel=0.3)  # exp(-4 / 2)


def test_no_items_is_an_error(corpus, tmp_path):
    with pytest.raises(UserError, match="must be positive"):
        latent_dataset(corpus, TinyCodec(), 0, tmp_path / "l.safetensors")
