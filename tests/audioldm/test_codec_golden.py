"""The full-size VAE, vocoder and int16 conversion against golden i, loaded from a file in the official layout."""

import pytest
import torch
from helpers import GOLDENS, close, from_manifest, golden

from soundctm.audioldm.checkpoint import load_audioldm_checkpoint
from soundctm.files.sounds import to_integers

RTOL = 3e-5


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    """The codec read from a file with every key of the manifest and one of the many that are ignored."""
    path = tmp_path_factory.mktemp("official") / "audioldm-s-full.ckpt"
    weights = from_manifest(GOLDENS / "manifests" / "audioldm_vae_vocoder.json", 404)
    state = {key: torch.from_numpy(value) for key, value in weights.items()}
    state["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(2)
    torch.save({"state_dict": state, "epoch": 3, "global_step": 7}, path)
    codec = load_audioldm_checkpoint(path)
    path.unlink()
    return codec


@pytest.fixture(scope="module")
def i():
    return golden("i_vae_vocoder")


def test_encode(codec, i):
    assert codec.scale_factor == i["scale_factor"].item()
    with torch.no_grad():
        distribution = codec.vae.encode(i["mel"]).latent_dist
    close(distribution.parameters[:, :8], i["moments"][:, :8], RTOL)
    close(distribution.logvar, i["moments"][:, 8:].clamp(-30, 20), RTOL)
    close(codec.scale_factor * (distribution.mean + distribution.std * i["eps"]), i["latent"], RTOL)


def test_encode_small_batch(codec, i):
    mel = i["mel"][:, :, :44]
    with torch.no_grad():
        moments = codec.vae.encode(torch.cat((mel, 0.5 * mel))).latent_dist.parameters
    close(moments, i["small.moments"], RTOL)


def test_full_length_decode(codec, i):
    mel = codec.decode_mel(i["z"])
    close(mel, i["decoded"], RTOL)
    with torch.no_grad():
        wave = codec.vocoder(mel[:, 0])
    assert wave.shape[1] == i["voc.long_length"]
    close(wave[:, ::7], i["voc.long_every7"], RTOL)
    close(torch.stack((wave.mean(), wave.std(), wave.abs().max())), i["voc.long_stats"], RTOL)
    cut = torch.from_numpy(to_integers(wave[:, :160000].numpy(), 16)[:, ::7].copy()).int()
    assert (cut - i["voc.int16_every7"].int()).abs().max() <= 1
    # The codec's own waveform: the whole 10.24 s, without the vocoder's 32 extra samples.
    ours = codec.mel_to_waveform(mel)
    assert ours.shape == (1, 163840)
    assert torch.equal(ours, wave[:, :163840])


def test_decode_small_batch(codec, i):
    close(codec.decode_mel(i["small.z"]), i["small.decoded"], RTOL)


def test_vocoder(codec, i):
    with torch.no_grad():
        close(codec.vocoder(i["voc.mel"][:, 0]), i["voc.wave"], RTOL)


def test_int16_as_the_official_one_but_without_wrapping(i):
    ours = torch.from_numpy(to_integers(i["int16.in"].numpy(), 16)).int()
    wraps = i["int16.in"] >= 1.0
    assert wraps.any()
    assert (ours[~wraps] - i["int16.out"][~wraps].int()).abs().max() <= 1
    assert (ours[wraps] == 32767).all()
