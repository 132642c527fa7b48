"""Writing the files of the official SoundCTM-DiT release from loaded parts: the inverse of `official.dit`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from soundctm.checkpoints.components import Components
from soundctm.checkpoints.official import clap
from soundctm.checkpoints.official.autoencoder import save_autoencoder
from soundctm.checkpoints.official.dit import PREFIX
from soundctm.checkpoints.official.dit_keys import to_official
from soundctm.checkpoints.official.summary import summary_of
from soundctm.checkpoints.torch_files import StateDict
from soundctm.codecs.waveform import WaveformCodec
from soundctm.errors import UserError
from soundctm.networks import Network
from soundctm.networks.dit import TeacherDiT
from soundctm.text.clap import ClapTextEncoder

FILES = {  # argument of load_official_dit -> file name
    "ema": "ac_ema.pt",
    "student": "ac_student.pt",
    "teacher": "mp_rank_00_model_states.pt",
    "summary": "ac_summary.jsonl",
    "autoencoder": "weights.pth",
    "z_stats": "z_stats.pth",
}


def save_official_dit(folder: str | os.PathLike, parts: Components) -> dict[str, Path]:
    """Write `parts` in float32 as the official files into `folder`; returns the paths as arguments of
    `load_official_dit`.

    Raises UserError for parts that those files cannot hold, and for files that are already there.
    """
    folder = Path(folder)
    networks = dict(parts.networks())
    text = _text_state(parts) if networks else {}
    for name, network in networks.items():
        _check_network(network, name, parts)
    if parts.codec is not None and not isinstance(parts.codec, WaveformCodec):
        raise UserError(f"weights.pth holds a 44.1 kHz autoencoder, not a {type(parts.codec).__name__}")
    roles = [*networks, "summary", *(("autoencoder", "z_stats") if parts.codec is not None else ())]
    paths = {role: folder / FILES[role] for role in roles}
    present = [str(path) for path in paths.values() if path.exists()]
    if present:
        raise UserError(f"{present[0]} already exists")
    folder.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        torch.save({**network_state(network), **text}, paths[name])
    if parts.codec is not None:
        save_autoencoder(parts.codec, paths["autoencoder"], paths["z_stats"])
    paths["summary"].write_text(json.dumps(summary_of(parts)) + "\n", encoding="utf-8")
    return paths


def network_state(network: Network) -> StateDict:
    """The official tensors of a transformer, with PREFIX."""
    state = to_official({key: value.float().cpu() for key, value in network.state_dict().items()})
    if isinstance(network, TeacherDiT):  # the official teacher has these and never uses them
        width = network.inner_dim
        state |= {f"to_global_embed.{number}.weight": torch.zeros(width, width) for number in (0, 2)}
    return {PREFIX + key: value for key, value in state.items()}


def _check_network(network: Network, name: str, parts: Components) -> None:
    config = network.config
    if config.get("bands") is not None or config.attention_head_dim != 64:
        raise UserError(f"the official files hold transformers over [C, T] with heads of 64; {name} is another")
    if config.cross_attention_input_dim != parts.text_encoder.dim:
        raise UserError(
            f"{name} takes text of {config.cross_attention_input_dim} channels, not {parts.text_encoder.dim}"
        )


def _text_state(parts: Components) -> StateDict:
    encoder = parts.text_encoder
    if not isinstance(encoder, ClapTextEncoder):
        name = encoder.name if encoder is not None else "none"
        raise UserError(f"the official files carry CLAP; this checkpoint's text encoder is {name}")
    if encoder.rest is None:
        raise UserError("the official files carry all of CLAP, and this checkpoint has its text branch alone")
    state = clap.to_official({key: value.float() for key, value in encoder.model.state_dict().items()})
    return {clap.PREFIX + key: value.cpu().contiguous() for key, value in {**state, **encoder.rest}.items()}
