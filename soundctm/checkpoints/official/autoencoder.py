"""Reading the official autoencoder: `weights.pth` (weights with weight norm, and its constructor's arguments)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from soundctm.checkpoints.assign import check_keys, shapes
from soundctm.codecs.waveform import WaveformCodec
from soundctm.errors import UserError

_UNIT = {"block.0.alpha": "snake1.alpha", "block.1": "conv1", "block.2.alpha": "snake2.alpha", "block.3": "conv2"}


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights with the product of weight norm formed: weight_g * weight_v / |weight_v|, over all axes but the first."""
    whole = {key: value for key, value in state.items() if not key.endswith((".weight_g", ".weight_v"))}
    for key, direction in state.items():
        if key.endswith(".weight_v") and (length := state.get(f"{key[:-1]}g")) is not None:
            norm = direction.flatten(1).norm(dim=1).reshape(-1, *[1] * (direction.ndim - 1))
            whole[key.removesuffix("_v")] = direction * (length / norm)
    return whole


def own_name(key: str, blocks: int) -> str:
    """Our name of an official tensor, weight norm folded; one that is unknown stays."""
    side, _, rest = key.partition(".")
    if side == "encoder":
        found = re.match(r"^block\.(\d+)\.(.*)$", rest)
    elif side == "decoder":
        found = re.match(r"^model\.(\d+)\.(.*)$", rest)
    else:
        return key
    if found is None:
        return key
    place, inside = int(found[1]), found[2]
    if place == 0:
        return f"{side}.conv1.{inside}"
    if place == blocks + 1:
        return f"{side}.snake1.{inside}"
    if place == blocks + 2:
        return f"{side}.conv2.{inside}"
    within = re.match(r"^block\.(\d+)\.(.*)$", inside)
    if within is None or place > blocks:
        return key
    number, tail = int(within[1]), within[2]
    first, snake, conv = (0, 3, 4) if side == "encoder" else (2, 0, 1)  # where residual units, Snake and stride lie
    prefix = f"{side}.block.{place - 1}."
    if number == snake:
        return f"{prefix}snake1.{tail}"
    if number == conv:
        return f"{prefix}{'conv1' if side == 'encoder' else 'conv_t1'}.{tail}"
    for official, own in _UNIT.items():
        if tail.startswith(official):
            return f"{prefix}res_unit{number - first + 1}.{own}{tail.removeprefix(official)}"
    return key


def read_codec(state: Mapping[str, Tensor], arguments: Mapping[str, Any], source: str) -> WaveformCodec:
    """The codec of an official file's weights and constructor arguments. Raises UserError naming `source`."""
    try:
        rates = [int(rate) for rate in arguments["encoder_rates"]]
        if [int(rate) for rate in arguments["decoder_rates"]] != rates[::-1]:
            raise UserError(f"{source}: the decoder's strides are not the encoder's in reverse order")
        codec = WaveformCodec(
            rates, int(arguments["latent_dim"]), int(arguments["encoder_dim"]), int(arguments["decoder_dim"]),
            int(arguments["sample_rate"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{source} does not describe its autoencoder: {error}") from error
    given = {own_name(key, len(rates)): value for key, value in folded(state).items()}
    expected = {key: value for key, value in codec.state_dict().items() if key not in ("z_mean", "z_std")}
    check_keys(shapes(expected), shapes(given), source)
    codec.load_state_dict(given, strict=False)
    return codec.eval()


def with_statistics(codec: WaveformCodec, z_mean: Tensor, z_std: Tensor) -> WaveformCodec:
    """The codec with the mean and standard deviation [C] of its latents (`z_stats.pth`)."""
    if z_mean.shape != codec.z_mean.shape or z_std.shape != codec.z_std.shape or not bool((z_std > 0).all()):
        raise UserError(f"statistics of {list(z_mean.shape)} do not fit {codec.latent_channels} latent channels")
    codec.z_mean.copy_(z_mean)
    codec.z_std.copy_(z_std)
    return codec
