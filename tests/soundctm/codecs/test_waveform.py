"""The 44.1 kHz autoencoder against the official one; normalisation; chunks."""

import functools

import pytest
import torch
from dit import filled, golden, golden_meta
from helpers import close

from soundctm.audioldm.errors import CodecError
from soundctm.checkpoints.official.autoencoder import folded, own_name, read_codec, with_statistics
from soundctm.codecs.waveform import WaveformCodec
from soundctm.errors import UserError

G, H = golden("i_autoencoder"), golden("h_latents_data")
RTOL = 3e-5


def official_state(codec: WaveformCodec, seed: int = 1404) -> dict[str, torch.Tensor]:
    """The official file of a codec of this shape: every convolution weight-normed, but for the names of ours."""
    blocks, state = len(codec.rates), {}
    places = {side: range(blocks + 3) for side in ("encoder.block", "decoder.model")}
    inner = ["", *(f"block.{i}." for i in range(5))]
    inner += [f"block.{i}.block.{j}." for i in range(5) for j in range(4)]
    own = codec.state_dict()
    candidates = [f"{side}.{p}.{i}{leaf}" for side, r in places.items() for p in r for i in inner
                  for leaf in ("weight", "bias", "alpha")]  # fmt: skip
    candidates += [f"{name}.{leaf}" for name in ("pre_conv", "post_conv") for leaf in ("weight", "bias")]
    for key in candidates:
        value = own.get(own_name(key, blocks))
        if value is None:
            continue
        if key.endswith(".weight"):
            state[f"{key}_g"] = filled(f"{key}_g", (value.shape[0], *[1] * (value.ndim - 1)), seed)
            state[f"{key}_v"] = filled(f"{key}_v", value.shape, seed)
        else:
            state[key] = filled(key, value.shape, seed)
    return state


@functools.lru_cache
def codec(name: str) -> WaveformCodec:
    kwargs = golden_meta("i_autoencoder")["kwargs"][name]
    shape = WaveformCodec(kwargs["encoder_rates"], 64, kwargs["encoder_dim"], kwargs["decoder_dim"])
    return read_codec(official_state(shape), kwargs, "weights.pth")


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
    own = with_statistics(WaveformCodec([2, 2], 64, 4, 16), H["norm.z_mean"], H["norm.z_std"])
    close(own.normalise(H["norm.z"]), H["norm.x_start"], 1e-5)
    close(own.denormalise(H["norm.x_start"]), H["norm.back"], 1e-5)
    with pytest.raises(UserError, match="do not fit 64 latent channels"):
        with_statistics(own, torch.zeros(3), torch.ones(3))


def test_lengths():
    own = codec("a")
    assert own.latent_shape() == (64, 432) and own.samples_per_latent == 1024
    with pytest.raises(CodecError, match="too short"):
        own.latent_shape(0.0)
    with pytest.raises(CodecError, match=r"latents must be \[B, 64, frames\]"):
        own.decode(torch.zeros(1, 8, 4, 16))
    with pytest.raises(CodecError, match="must be even"):
        WaveformCodec([3, 4])


def test_missing_and_extra_keys_are_one_line():
    kwargs = golden_meta("i_autoencoder")["kwargs"]["b"]
    state = official_state(WaveformCodec(kwargs["encoder_rates"], 64, kwargs["encoder_dim"], kwargs["decoder_dim"]))
    state["encoder.block.9.bias"] = state.pop("pre_conv.bias")
    with pytest.raises(UserError, match="weights.pth does not fit.*pre_conv.bias.*encoder.block.9.bias"):
        read_codec(state, kwargs, "weights.pth")
    with pytest.raises(UserError, match="does not describe its autoencoder"):
        read_codec(state, {}, "weights.pth")
