"""Reader of the released `audioldm-s-full.ckpt`: its VAE, vocoder and scale factor as an AudioLDMCodec.

The file holds many more tensors below its top-level `state_dict` (AudioLDM's own diffusion UNet, CLAP, ...): they are
ignored, because SoundCTM brings its own network. What is below `first_stage_model.` must match exactly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .codec import AudioLDMCodec
from .errors import CodecError
from .library import AutoencoderKL
from .unpickle import load_checkpoint
from .vae import build_vae
from .vocoder import build_hifigan

PREFIX = "first_stage_model."
SCALE_KEY = "scale_factor"
# Statistics for mel normalisation, which AudioLDM does not do: transformers' buffers, absent from the file.
VOCODER_ONLY_OURS = ("mean", "scale")

_RENAMES = (
    (r"\.resnets\.(\d+)\.", r".block.\1."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.(down|up)samplers\.0\.", r".\1sample."),
    (r"\.mid_block\.attentions\.0\.group_norm\.", ".mid.attn_1.norm."),
    (r"\.mid_block\.attentions\.0\.to_out\.0\.", ".mid.attn_1.proj_out."),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\.", r".mid.attn_1.\1."),
    (r"\.conv_norm_out\.", ".norm_out."),
)


def official_vae_key(key: str, levels: int = 3) -> str:
    """The released file's name (below `first_stage_model.`) of a key of diffusers' AutoencoderKL."""
    key = re.sub(r"\.mid_block\.resnets\.(\d+)\.", lambda m: f".mid.block_{int(m[1]) + 1}.", key)
    key = re.sub(r"\.down_blocks\.(\d+)\.", r".down.\1.", key)
    # diffusers counts the decoder's blocks in the order they run, the file by level.
    key = re.sub(r"\.up_blocks\.(\d+)\.", lambda m: f".up.{levels - 1 - int(m[1])}.", key)
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def official_vocoder_key(key: str) -> str:
    """The released file's name (below `first_stage_model.vocoder.`) of a key of transformers' SpeechT5HifiGan."""
    return re.sub(r"^upsampler\.", "ups.", key)


def load_audioldm_checkpoint(path: str | os.PathLike) -> AudioLDMCodec:
    """The codec in a released AudioLDM file, float32 on the CPU. Nothing in the file is executed.

    Raises CodecError if the file is absent, no checkpoint or unsafe, or if keys are missing, extra or misshapen.
    """
    content = load_checkpoint(path)
    state = content.get("state_dict") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CodecError(f"{path} has no `state_dict`; audioldm-s-full.ckpt has one")
    try:
        return codec_from_state_dict(state)
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from error


def codec_from_state_dict(state: Mapping[str, Tensor]) -> AudioLDMCodec:
    """The full-size codec from the entries `scale_factor` and `first_stage_model.*`; all others are ignored.

    Raises CodecError for keys that are missing, extra or misshapen, and for values that are no finite tensors.
    """
    _check_tensors(state)
    with torch.device("meta"):
        vae, vocoder = build_vae(), build_hifigan()
    own_names = {f"{PREFIX}{official_vae_key(key)}": (vae, key) for key in vae.state_dict()}
    own_names |= {
        f"{PREFIX}vocoder.{official_vocoder_key(key)}": (vocoder, key)
        for key in vocoder.state_dict()
        if key not in VOCODER_ONLY_OURS
    }
    present = {key for key in state if isinstance(key, str) and key.startswith(PREFIX)}
    problems = _listing("missing", sorted((own_names.keys() | {SCALE_KEY}) - set(state)))
    problems += _listing("not expected", sorted(present - own_names.keys()))
    parts: dict[nn.Module, dict[str, Tensor]] = {vae: {}, vocoder: {"mean": torch.zeros(64), "scale": torch.ones(64)}}
    shapes = {module: {key: value.shape for key, value in module.state_dict().items()} for module in parts}
    misshapen = []
    for name, (module, key) in own_names.items():
        if name not in state:
            continue
        value, shape = state[name], shapes[module][key]
        if value.ndim == 4 and len(shape) == 2 and value.shape[2:] == (1, 1):
            value = value[:, :, 0, 0]  # the file's attention layers are 1x1 convolutions
        if value.shape == shape and not bool(value.isfinite().all()):
            raise CodecError(f"{name} holds values that are not finite")
        if value.shape != shape:
            misshapen.append(f"{name} {tuple(state[name].shape)} instead of {tuple(shape)}")
        parts[module][key] = value.float()
    problems += _listing("misshapen", misshapen)
    if problems:
        raise CodecError("not the weights of AudioLDM's codec: " + "; ".join(problems))
    for module, weights in parts.items():
        module.load_state_dict(weights, strict=True, assign=True)
    return AudioLDMCodec(_real(vae), _real(vocoder), scale_factor=_scale(state[SCALE_KEY]))


def _check_tensors(state: Mapping[str, Tensor]) -> None:
    for key, value in state.items():
        if isinstance(key, str) and key.startswith((PREFIX, SCALE_KEY)):
            plain = isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized
            if not plain or value.is_meta or value.is_complex():
                raise CodecError(f"{key} is no plain tensor of numbers")


def _scale(value: Tensor) -> float:
    if value.numel() != 1 or not 1e-6 <= (scale := float(value)) <= 1e6:
        raise CodecError(f"{SCALE_KEY} must be one number, from 1e-6 to 1e6")
    return scale


def _real(module: AutoencoderKL | nn.Module) -> nn.Module:
    """Own copies of tensors mapped from the file, so that the file can be closed or replaced."""
    return module._apply(lambda tensor: tensor.clone())


def _listing(what: str, names: list[str], shown: int = 3) -> list[str]:
    if not names:
        return []
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return [f"{len(names)} {what}: {', '.join(names[:shown])}{rest}"]
