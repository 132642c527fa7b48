"""Names of the official transformer's tensors <-> ours. q, k and v lie in one matrix there, and k and v of the text."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from soundctm.checkpoints.torch_files import StateDict

BUFFERS = re.compile(r"\.beta$|\.rotary_pos_emb\.inv_freq$")  # zeros, and a fixed table
UNUSED = re.compile(r"^to_global_embed\.")  # in the teacher's file; the official forward never calls it

_TOP = {
    "timestep_features.weight": "time_proj.weight",
    "to_timestep_embed.": "timestep_proj.",
    "to_cond_embed.": "cross_attention_proj.",
    "transformer.project_in.": "proj_in.",
    "transformer.project_out.": "proj_out.",
}
_BLOCK = {
    "pre_norm.gamma": "norm1.weight",
    "self_attn.to_qkv.": ("attn1.to_q.", "attn1.to_k.", "attn1.to_v."),
    "self_attn.to_out.": "attn1.to_out.0.",
    "cross_attend_norm.gamma": "norm2.weight",
    "cross_attn.to_q.": "attn2.to_q.",
    "cross_attn.to_kv.": ("attn2.to_k.", "attn2.to_v."),
    "cross_attn.to_out.": "attn2.to_out.0.",
    "ff_norm.gamma": "norm3.weight",
    "ff.ff.0.proj.": "ff.net.0.proj.",
    "ff.ff.2.": "ff.net.2.",
}
_LAYER = re.compile(r"^transformer\.layers\.(\d+)\.(.*)$")
_OWN_LAYER = re.compile(r"^transformer_blocks\.(\d+)\.(.*)$")


def own_names(key: str) -> tuple[str, ...]:
    """Our name of an official tensor, or the names of the parts that it is cut into; one that is unknown stays."""
    layer = _LAYER.match(key)
    prefix, rest, table = (f"transformer_blocks.{layer[1]}.", layer[2], _BLOCK) if layer else ("", key, _TOP)
    for official, own in table.items():
        if rest.startswith(official):
            parts = (own,) if isinstance(own, str) else own
            return tuple(prefix + part + rest.removeprefix(official) for part in parts)
    return (key,)


def from_official(state: Mapping[str, torch.Tensor]) -> StateDict:
    """Our state dict of an official one, without its buffers. A matrix that cannot be cut in equal parts stays whole,
    under its official name, so that it is reported."""
    ours: StateDict = {}
    for key, value in state.items():
        if BUFFERS.search(key):
            continue
        names = own_names(key)
        if value.ndim == 0 or value.shape[0] % len(names):
            ours[key] = value
            continue
        parts = value.chunk(len(names))
        if key == "timestep_features.weight" and value.ndim == 2 and value.shape[1] == 1:
            parts = (value[:, 0],)
        ours.update(zip(names, parts, strict=True))
    return ours


def to_official(state: Mapping[str, torch.Tensor]) -> StateDict:
    """The official state dict of ours, with its buffers."""
    official: StateDict = {}
    for key, value in state.items():
        name, place, count = official_name(key)
        if name == "timestep_features.weight":
            value = value[:, None]
        if count == 1:
            official[name] = value
        else:
            official.setdefault(name, [None] * count)[place] = value  # type: ignore[arg-type]
        if name.endswith(".gamma"):
            official[name.removesuffix("gamma") + "beta"] = torch.zeros_like(value)
    joined = {key: torch.cat(value) if isinstance(value, list) else value for key, value in official.items()}
    joined["transformer.rotary_pos_emb.inv_freq"] = inverse_frequencies()
    return joined


def official_name(key: str) -> tuple[str, int, int]:
    """The official name of one of our tensors, which part of that it is, and of how many."""
    layer = _OWN_LAYER.match(key)
    prefix, rest, table = (f"transformer.layers.{layer[1]}.", layer[2], _BLOCK) if layer else ("", key, _TOP)
    for official, own in table.items():
        parts = (own,) if isinstance(own, str) else own
        for place, part in enumerate(parts):
            if rest.startswith(part):
                return prefix + official + rest.removeprefix(part), place, len(parts)
    return key, 0, 1


def inverse_frequencies(width: int = 32) -> torch.Tensor:
    """The rotary table as the file holds it: 10000^(-2 i / width)."""
    return 1.0 / 10000.0 ** (torch.arange(0, width, 2).float() / width)
