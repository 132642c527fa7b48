"""The 44.1 kHz autoencoder against the official one; normalisation; chunks; its folder."""

import copy
import functools
import json
from pathlib import Path

import pytest
import torch
from dit import filled, golden, golden_meta
from helpers import close
from safetensors.torch import save_file

from soundctm.audioldm.errors import CodecError
from soundctm.checkpoints import load_codec
from soundctm.checkpoints.official.autoencoder import folded, normed, read_codec
from soundctm.codecs.waveform import WaveformCodec
from soundctm.data.latents import channel_statistics
from soundctm.errors import UserError

G, H = golden("i_autoencoder"), golden("h_latents_data")
RTOL = 3e-5


def official_state(kwargs: dict, seed: int = 1404) -> dict[str, torch.Tensor]:
    """The weights of an official file of these arguments, filled by the rule."""
    widths = kwargs["latent_dim"], kwargs["encoder_dim"], kwargs["decoder_dim"]
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in normed(WaveformCodec(kwargs["encoder_rates"], *widths)).items()}
    return {key: filled(key, shape, seed) for key, shape in shapes.items()}


@functools.lru_cache
def codec(name: str) -> WaveformCodec:
    kwargs = golden_meta("i_autoencoder")["kwargs"][name]
    return read_codec(official_state(kwargs), kwargs, Path("weights.pth"))


@torch.no_grad()
@pytest.mark.parametrize(
    "name", ["a", "b", *(pytest.param(f"full_{r}", marks=pytest.mark.slow) for r in ("4_4_8_8", "2_4_8_16"))]
)
def test_encode_and_decode(name):
    own = codec(name)
    mean, logvar = own.posterior(G[f"{name}.audio"][:, 0])
    close(mean, G[f"{name}.moments"][:, :64], RTOL)
    close(logvar, G[f"{name}.moments"][:, 64:].clamp(-30, 20), RTOL)
    close(mean + (logvar / 2).exp() * G[f"{name}.eps"], G[f"{name}.latent"], RTOL)
    close(own.decode_frames(G[f"{name}.z"]), G[f"{name}.wave"][:, 0], RTOL)


def test_weight_norm_is_folded():
    pair = {"encoder.block.0.weight_g": filled("encoder.block.0.weight_g", (8, 1, 1), 1404)}
    pair["encoder.block.0.weight_v"] = filled("encoder.block.0.weight_v", (8, 1, 7), 1404)
    close(folded(pair)["encoder.block.0.weight"], G["layer.conv_weight"], 1e-6)


def test_chunks_are_the_whole():
    z = torch.randn(1, 64, 150, generator=torch.Generator().manual_seed(0))
    own = codec("b")
    whole = own.decode_frames(z)
    close(own.decode_frames(z, chunk=40), whole, 1e-5)


def test_normalisation():
    own = WaveformCodec([2, 2], 64, 4, 16)
    own.z_mean.copy_(H["norm.z_mean"])
    own.z_std.copy_(H["norm.z_std"])
    close(own.normalise(H["norm.z"]), H["norm.x_start"], 1e-5)
    close(own.denormalise(H["norm.x_start"]), H["norm.back"], 1e-5)


def test_statistics_of_latents():
    mean, std = channel_statistics(H["norm.z"])
    close(mean, H["stats.z_mean"], 1e-5)
    close(std, H["stats.z_std"], 1e-5)


def test_lengths():
    own = codec("a")
    assert own.latent_shape() == (64, 432) and own.samples_per_latent == 1024
    with pytest.raises(CodecError, match="too short"):
        own.latent_shape(0.0)
    with pytest.raises(CodecError, match=r"latents must be \[B, 64, frames\]"):
        own.decode(torch.zeros(1, 8, 4, 16))
    with pytest.raises(CodecError, match="must be even"):
        WaveformCodec([3, 4])


def test_a_codec_comes_back_from_its_folder(tmp_path):
    own = copy.deepcopy(codec("b"))
    own.z_mean.normal_(generator=torch.Generator().manual_seed(1))
    own.save_pretrained(tmp_path / "codec")
    read = load_codec(tmp_path / "codec")
    assert read.config() == own.config() and not read.training
    assert all(torch.equal(value, read.state_dict()[key]) for key, value in own.state_dict().items())
    z = torch.randn(1, 64, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read.decode(z), own.decode(z)) and torch.equal(read.synthesise(z), own.decode(z))

    own.save_pretrained(tmp_path / "half", torch.float16)
    half = load_codec(tmp_path / "half", torch.bfloat16)
    assert half.dtype == torch.bfloat16 and torch.equal(half.z_mean, own.z_mean), "statistics are never rounded"
    assert half.z_std.dtype == torch.float32 and own.dtype == torch.float32


def test_a_folder_that_is_no_whole_codec_is_one_line(tmp_path):
    own = WaveformCodec([2, 4], 8, 4, 16)
    own.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, says in (
        ({"rates": [2, 3]}, "must be even"),
        ({"rates": [2, 8]}, "of another shape"),
        ({"rates": "2 4"}, "must be a whole number"),
        ({"decoder_width": 6}, "cannot be halved 2 times"),
        ({"default_seconds": 0}, "default_seconds is 0"),
        ({"hop": 8}, "has the options"),
        ({"_class_name": "OtherCodec"}, "names the codec OtherCodec; known are"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=says) as caught:
            load_codec(tmp_path)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = own.state_dict()
    save_file({key: value for key, value in state.items() if key != "z_std"}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"1 key missing \(z_std\)"):
        load_codec(tmp_path)
    own.post_conv.weight.data[0] = torch.nan
    with pytest.raises(CodecError, match="post_conv.weight would not be finite"):
        own.save_pretrained(tmp_path / "broken")


def test_decoding_can_be_differentiated():
    z = torch.randn(1, 64, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    codec("b").synthesise(z).square().mean().backward()
    assert z.grad.abs().min() > 0
