"""Writing the files of the official UNet release from loaded parts: the inverse of `official.unet`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from transformers import SpeechT5HifiGan, T5EncoderModel

from soundctm.audioldm.checkpoint import PREFIX, SCALE_KEY, VOCODER_ONLY_OURS, official_vae_key, official_vocoder_key
from soundctm.audioldm.codec import AudioLDMCodec
from soundctm.audioldm.vae import FULL_CHANNELS
from soundctm.checkpoints.components import Components
from soundctm.checkpoints.official.summary import summary_of
from soundctm.checkpoints.official.unet import TEXT_PREFIX, UNET_PREFIXES
from soundctm.checkpoints.torch_files import StateDict
from soundctm.errors import UserError
from soundctm.files import whole_file, write_whole

FILES = {  # argument of load_official -> the release's file name
    "teacher": "pytorch_model_2_sigma_025.bin",
    "student": "pytorch_model.bin",
    "ema": "ema_0.999_030000.pt",
    "summary": "summary.jsonl",
    "audioldm": "audioldm-s-full.ckpt",
}


def save_official(folder: str | os.PathLike, parts: Components) -> dict[str, Path]:
    """Write `parts` in float32 as the official files into `folder`; returns the paths as arguments of `load_official`.

    Raises UserError for a text encoder that is no T5, for a codec of another shape than AudioLDM's, and for files
    that are already there.
    """
    folder = Path(folder)
    contents: dict[str, object] = {}
    for role in ("teacher", "student"):
        network = getattr(parts, role)
        if network is not None:
            contents[role] = {**_prefixed(UNET_PREFIXES[role], network), **_text_state(parts)}
    if parts.ema is not None:
        contents["ema"] = _prefixed("", parts.ema)
    if parts.codec is not None:
        contents["audioldm"] = {"state_dict": codec_state(parts.codec)}
    paths = {role: folder / FILES[role] for role in (*contents, "summary")}
    present = [str(path) for path in paths.values() if path.exists()]
    if present:
        raise UserError(f"{present[0]} already exists")
    for role, content in contents.items():
        with whole_file(paths[role]) as temporary:
            torch.save(content, temporary)
    write_whole(paths["summary"], json.dumps(summary_of(parts)) + "\n")
    return paths


def codec_state(codec: AudioLDMCodec) -> StateDict:
    """The codec's tensors under the names and shapes of `audioldm-s-full.ckpt`. Raises UserError for another shape."""
    channels = tuple(codec.vae.config.get("block_out_channels", ()))
    if channels != FULL_CHANNELS or not isinstance(codec.vocoder, SpeechT5HifiGan):
        kind = f"a {type(codec.vae).__name__} of {channels or 'no'} channels and a {type(codec.vocoder).__name__}"
        raise UserError(f"AudioLDM's file holds a VAE of {FULL_CHANNELS} channels and a HiFi-GAN, not {kind}")
    state = {SCALE_KEY: torch.tensor(codec.scale_factor)}
    for key, value in codec.vae.state_dict().items():
        in_attention = ".attentions." in key and value.ndim == 2
        # the file's attention layers are 1x1 convolutions
        state[PREFIX + official_vae_key(key)] = (value[:, :, None, None] if in_attention else value).float()
    for key, value in codec.vocoder.state_dict().items():
        if key not in VOCODER_ONLY_OURS:
            state[f"{PREFIX}vocoder.{official_vocoder_key(key)}"] = value.float()
    return state


def _prefixed(prefix: str, module: torch.nn.Module) -> StateDict:
    return {prefix + key: value.float() for key, value in module.state_dict().items()}


def _text_state(parts: Components) -> StateDict:
    model = parts.text_encoder.model if parts.text_encoder is not None else None
    if not isinstance(model, T5EncoderModel):
        name = parts.text_encoder.name if parts.text_encoder is not None else "none"
        raise UserError(f"the official teacher and student files carry a T5 text encoder; this checkpoint's is {name}")
    return _prefixed(TEXT_PREFIX, model)
