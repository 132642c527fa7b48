"""Files in the layout of the official SoundCTM-DiT release, filled by the goldens' rule: small ones and full-size ones.

What CLAP holds beside its text branch has its true shapes at all sizes, but takes no place: every tensor repeats one
number.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from dit import CONFIG, FOLDER, filled, golden, golden_meta
from transformers import ClapTextConfig, ClapTextModelWithProjection

from soundctm.checkpoints.official import clap
from soundctm.checkpoints.official.autoencoder import normed
from soundctm.checkpoints.official.dit_keys import to_official
from soundctm.codecs.waveform import WaveformCodec
from soundctm.networks.dit import StudentDiT, TeacherDiT

State = dict[str, torch.Tensor]
SEEDS = {"teacher": 1101, "student": 1202, "ema": 1303, "text": 1505, "autoencoder": 1404}
TEXT = {  # by version: the transformer's text has 128 channels, which is RoBERTa's width or the projection's
    "v2": {"hidden_size": 128, "projection_dim": 32},
    "v1": {"hidden_size": 64, "projection_dim": 128},
}
SUMMARY = {"sigma_data": 0.5, "sigma_min": 0.002, "sigma_max": 80.0, "rho": 7, "w_min": 1.0, "w_max": 10.0}


def text_config(version: str = "v2") -> dict:
    small = {"vocab_size": 120, "num_hidden_layers": 2, "num_attention_heads": TEXT[version]["hidden_size"] // 64}
    limits = {"intermediate_size": 96, "max_position_embeddings": 80, "layer_norm_eps": 1e-5}
    return {**small, **limits, **TEXT[version]}


def small_network(role: str) -> State:
    kind = TeacherDiT if role == "teacher" else StudentDiT
    shapes = {key: value.shape for key, value in to_official(kind.from_config(CONFIG).state_dict()).items()}
    if role == "teacher":
        shapes |= {f"to_global_embed.{number}.weight": (256, 256) for number in (0, 2)}
    return {f"dit.{key}": filled(f"dit.{key}", shape, SEEDS[role]) for key, shape in shapes.items()}


def small_clap(version: str = "v2") -> State:
    config = ClapTextConfig(**text_config(version))
    state = clap.to_official(ClapTextModelWithProjection(config).state_dict())
    names = {f"{clap.PREFIX}{key}": value.shape for key, value in state.items()}
    return {key: filled(key, shape, SEEDS["text"]) for key, shape in names.items()} | ears(config.projection_dim)


def ears(projection: int) -> State:
    """CLAP beside its text branch."""
    tables = (".relative_position_index", ".num_batches_tracked")
    kinds = {name: torch.long if name.endswith(tables) else torch.float32 for name in clap.rest_shapes(projection)}
    return {
        f"{clap.PREFIX}{name}": torch.ones(1, dtype=kinds[name])[0].expand(shape)
        for name, shape in clap.rest_shapes(projection).items()
    }


def small_autoencoder() -> dict:
    kwargs = golden_meta("i_autoencoder")["kwargs"]["b"]
    widths = kwargs["latent_dim"], kwargs["encoder_dim"], kwargs["decoder_dim"]
    shapes = {key: value.shape for key, value in normed(WaveformCodec(kwargs["encoder_rates"], *widths)).items()}
    state = {key: filled(key, shape, SEEDS["autoencoder"]) for key, shape in shapes.items()}
    return {"state_dict": state, "metadata": {"kwargs": kwargs}}


def statistics() -> State:
    h = golden("h_latents_data")
    return {"z_mean": h["norm.z_mean"], "z_std": h["norm.z_std"]}


def write_small(
    folder: Path, version: str = "v2", roles: tuple[str, ...] = ("ema",), whole: bool = True
) -> dict[str, Path]:
    """All files, as arguments of `load_official_dit`; not `whole`: without CLAP's audio branch."""
    names = {"ema": "ac_ema.pt", "student": "ac_student.pt", "teacher": "mp_rank_00_model_states.pt"}
    paths = {role: folder / names[role] for role in roles}
    spoken = small_clap(version)
    if not whole:
        spoken = {key: value for key, value in spoken.items() if key.startswith(f"{clap.PREFIX}text_")}
        spoken = {key: value for key, value in spoken.items() if "text_transform" not in key}
    for role, path in paths.items():
        torch.save({**small_network(role), **spoken}, path)
    paths |= {name: folder / f"{stem}.pth" for name, stem in (("autoencoder", "weights"), ("z_stats", "z_stats"))}
    torch.save(small_autoencoder(), paths["autoencoder"])
    torch.save(statistics(), paths["z_stats"])
    paths["summary"] = folder / "ac_summary.jsonl"
    paths["summary"].write_text(json.dumps(SUMMARY) + "\n" + json.dumps({"step": 1}) + "\n")
    return paths


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    """Every key and shape of an official file."""
    entries = json.loads((FOLDER / "manifests" / f"{name}.json").read_text())["tensors"]
    return {key: tuple(entry["shape"]) for key, entry in entries.items()}


def on_meta(name: str) -> State:
    """The tensors of a manifest without their values."""
    entries = json.loads((FOLDER / "manifests" / f"{name}.json").read_text())["tensors"]
    return {
        key: torch.empty(entry["shape"], dtype=getattr(torch, entry["dtype"]), device="meta")
        for key, entry in entries.items()
    }
