"""The official autoencoder: `weights.pth`, its weights under weight norm and its constructor's arguments, and
`z_stats.pth`, the statistics of its latents.

    weights.pth     {"state_dict": {"encoder.block.0.weight_g", ...}, "metadata": {"kwargs": {"encoder_rates", ...}}}
    z_stats.pth     {"z_mean": [C], "z_std": [C]}

Weight norm is folded when the file is read: weight_g * weight_v / |weight_v|.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from soundctm.checkpoints.assign import build, check_finite, check_keys, length_of, shapes
from soundctm.checkpoints.limits import check_config
from soundctm.checkpoints.stored import UNUSABLE
from soundctm.checkpoints.torch_files import StateDict, flat_state, read_state_dict, read_torch_file
from soundctm.codecs.waveform import STATISTICS, WaveformCodec
from soundctm.errors import UserError
from soundctm.files import whole_file

SAMPLING_RATE = 44_100
_UNIT = {"snake1": "block.0", "conv1": "block.1", "snake2": "block.2", "conv2": "block.3"}  # of a residual unit
_BLOCK = {  # of a stage: ours -> official
    "encoder": {"res_unit1": "0", "res_unit2": "1", "res_unit3": "2", "snake1": "3", "conv1": "4"},
    "decoder": {"snake1": "0", "conv_t1": "1", "res_unit1": "2", "res_unit2": "3", "res_unit3": "4"},
}
_SIDE = {"encoder": "encoder.block", "decoder": "decoder.model"}
_ARGUMENTS = {  # official -> ours
    "encoder_rates": "rates",
    "latent_dim": "latent_channels",
    "encoder_dim": "encoder_width",
    "decoder_dim": "decoder_width",
    "sample_rate": "sampling_rate",
}


def load_autoencoder(weights: Path, z_stats: Path | None = None) -> WaveformCodec:
    """The codec of the official files in float32; without `z_stats` its latents are not normalised.

    Raises UserError for files that cannot be read safely, and for keys that are missing, extra or misshapen.
    """
    content = read_torch_file(weights)
    if not isinstance(content, Mapping) or "state_dict" not in content:
        raise UserError(f"{weights} has no entry 'state_dict', under which its weights should be")
    metadata = content.get("metadata")
    arguments = metadata.get("kwargs") if isinstance(metadata, Mapping) else None
    state = flat_state(content["state_dict"], weights)
    codec = read_codec(state, arguments if isinstance(arguments, Mapping) else described_by(state, weights), weights)
    return codec if z_stats is None else with_statistics(codec, z_stats)


def read_codec(state: Mapping[str, Tensor], arguments: Mapping[str, Any], source: Path) -> WaveformCodec:
    """The codec of an official file's weights and constructor arguments. Raises UserError naming `source`."""
    own = _own_arguments(arguments, source)

    def make() -> WaveformCodec:
        try:
            return WaveformCodec(**own)
        except UNUSABLE as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise UserError(f"{source} describes no usable autoencoder: {reason}") from error

    with torch.device("meta"):
        empty = make()
    check_keys(shapes(normed(empty)), shapes(state), str(source))
    names = {official: ours for ours, official in official_names(empty).items()}
    plain = {names[key]: value.float() for key, value in folded(state).items()}
    statistics = {"z_mean": torch.zeros(own["latent_channels"]), "z_std": torch.full((own["latent_channels"],), 0.5)}
    return build(make, plain | statistics, str(source), torch.float32)


def with_statistics(codec: WaveformCodec, z_stats: Path) -> WaveformCodec:
    """`codec` with the mean and standard deviation of its latents in the file `z_stats`. Raises UserError."""
    state = read_state_dict(z_stats)
    check_keys(shapes({name: getattr(codec, name) for name in STATISTICS}), shapes(state), str(z_stats))
    check_finite(state, str(z_stats))
    if not bool((state["z_std"] > 0).all()):
        raise UserError(f"{z_stats}: z_std must be above 0 in every channel")
    for name in STATISTICS:
        getattr(codec, name).copy_(state[name])
    return codec


def save_autoencoder(codec: WaveformCodec, weights: Path, z_stats: Path) -> None:
    """Write `codec` as the official files, in float32, each whole or not at all. Raises UserError."""
    official = {theirs: getattr(codec, ours) for theirs, ours in _ARGUMENTS.items()}
    official["encoder_rates"] = list(codec.rates)
    official |= {"decoder_rates": list(reversed(codec.rates)), "double_z": True}
    with whole_file(weights) as temporary:
        torch.save({"state_dict": normed(codec), "metadata": {"kwargs": official}}, temporary)
    with whole_file(z_stats) as temporary:
        torch.save({name: getattr(codec, name).float().cpu() for name in STATISTICS}, temporary)


def folded(state: Mapping[str, Tensor]) -> StateDict:
    """Weights with the product of weight norm formed, over all axes but the first."""
    whole = {key: value for key, value in state.items() if not key.endswith((".weight_g", ".weight_v"))}
    for key, direction in state.items():
        if key.endswith(".weight_v") and (length := state.get(f"{key[:-1]}g")) is not None:
            whole[key.removesuffix("_v")] = direction * (length / _norms(direction))
    return whole


def normed(codec: WaveformCodec) -> StateDict:
    """The official state dict of `codec`: every weight as a length and a direction."""
    state: StateDict = {}
    for own, official in official_names(codec).items():
        value = codec.get_parameter(own).detach().float()
        value = value if value.is_meta else value.cpu()
        if not official.endswith(".weight"):
            state[official] = value
            continue
        length = _norms(value)
        state[f"{official}_g"] = length
        # a channel without weights has a length of 0, and needs a direction all the same
        state[f"{official}_v"] = torch.where(length > 0, value, torch.ones_like(value))
    return state


def official_names(codec: WaveformCodec) -> dict[str, str]:
    """Our name of every weight -> the official one, weight norm folded."""
    last = len(codec.rates) + 1
    ends = {"conv1": "0", "snake1": str(last), "conv2": str(last + 1)}
    return {name: _official_name(name, ends) for name, _ in codec.named_parameters()}


def _official_name(name: str, ends: Mapping[str, str]) -> str:
    side, _, rest = name.partition(".")
    if side not in _SIDE:
        return name  # pre_conv, post_conv
    stage = re.match(r"block\.(\d+)\.(\w+)\.(?:(\w+)\.)?(\w+)$", rest)
    if stage is None:
        layer, leaf = rest.split(".")
        return f"{_SIDE[side]}.{ends[layer]}.{leaf}"
    number, layer, inner, leaf = stage.groups()
    parts = [_SIDE[side], str(int(number) + 1), "block", _BLOCK[side][layer], *([_UNIT[inner]] if inner else []), leaf]
    return ".".join(parts)


def described_by(state: Mapping[str, Tensor], source: Path) -> dict[str, Any]:
    """The constructor's arguments as the shapes of the weights tell them: kernels are twice as long as strides."""
    rates = []
    while (key := f"encoder.block.{len(rates) + 1}.block.4.weight_v") in state:
        rates.append(length_of(state, key, str(source), axis=2) // 2)
    layers = {"encoder_dim": "encoder.block.0", "decoder_dim": "decoder.model.0", "latent_dim": "post_conv"}
    widths = {name: length_of(state, f"{layer}.weight_v", str(source)) for name, layer in layers.items()}
    return {"encoder_rates": rates, **widths}


def _own_arguments(arguments: Mapping[str, Any], source: Path) -> dict[str, Any]:
    missing = [name for name in list(_ARGUMENTS)[:-1] if arguments.get(name) is None]
    if missing:
        raise UserError(f"{source} does not describe its autoencoder: its metadata lacks {', '.join(missing)}")
    values = {"sample_rate": SAMPLING_RATE, **arguments}
    own = {ours: values[theirs] for theirs, ours in _ARGUMENTS.items()}
    own["rates"] = list(own["rates"]) if isinstance(own["rates"], list | tuple) else own["rates"]
    check_config(own, source)
    back = arguments.get("decoder_rates", own["rates"][::-1] if isinstance(own["rates"], list) else None)
    fits = isinstance(own["rates"], list) and isinstance(back, list | tuple)
    if not fits or list(back) != own["rates"][::-1]:
        raise UserError(f"{source}: the decoder's strides are not the encoder's in reverse order")
    return own


def _norms(weight: Tensor) -> Tensor:
    return weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.ndim - 1))
