"""The official files at their true size (866 M to 1.24 G parameters), through the public reader, against the goldens.

Needs about 6 GiB of memory and 10 GB of disk, and a minute or two per test.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import GOLDENS, close, golden
from official_files import full_size

from soundctm.checkpoints import load_official
from soundctm.checkpoints.official.unet_export import codec_state
from soundctm.networks import feature_maps

pytestmark = pytest.mark.slow

TEACHER, STUDENT, TEXT, CODEC = 5001, 5002, 5003, 404  # seeds of the goldens


@pytest.fixture
def folder(tmp_path):
    """A folder whose content is removed at once: pytest would keep the last three."""
    if shutil.disk_usage(tmp_path).free < 12e9:
        pytest.skip("needs 12 GB of free disk")
    yield tmp_path
    shutil.rmtree(tmp_path)


def write(path: Path, *states: dict[str, torch.Tensor]) -> Path:
    torch.save({key: value for state in states for key, value in state.items()}, path)
    return path


def keys(manifest: str) -> set[str]:
    return set(json.loads((GOLDENS / "manifests" / f"{manifest}.json").read_text())["tensors"])


def names(module: torch.nn.Module, prefix: str = "") -> set[str]:
    return {prefix + key for key in module.state_dict()}


@torch.no_grad()
def test_teacher_file(folder):
    g, text = golden("full_unet"), golden("full_text_encoder")
    path = write(
        folder / "pytorch_model_2_sigma_025.bin",
        full_size("teacher", TEACHER, keys="unet."),
        full_size("teacher", TEXT, keys="text_encoder."),
    )
    parts = load_official(teacher=path)
    encoder = parts.text_encoder.model
    assert names(parts.teacher, "unet.") | names(encoder, "text_encoder.") == keys("teacher")
    # weights filled at random make the softmax very sharp, hence the tolerance (reference README)
    close(encoder(text["input_ids"], text["attention_mask"]).last_hidden_state, text["hidden"], rtol=5e-3)

    inputs = (g["x"], g["timestep"], g["text"])
    close(parts.teacher(*inputs, encoder_attention_mask=g["mask"]).sample, g["teacher.out"], rtol=3e-5)
    maps = feature_maps(parts.teacher, "full", *inputs, encoder_attention_mask=g["mask"])
    for index, features in enumerate(maps):
        mean, std, largest = g[f"teacher.full.{index}.stats"].tolist()
        assert features.mean().item() == pytest.approx(mean, abs=3e-5 * largest)
        assert features.std().item() == pytest.approx(std, rel=1e-4)
        assert features.abs().max().item() == pytest.approx(largest, rel=1e-4)


@torch.no_grad()
def test_student_and_ema_files(folder):
    g = golden("full_unet")
    unet = full_size("student_ema", STUDENT, prefix="ctm_unet.")
    ema = write(folder / "ema_0.999_030000.pt", unet)
    student = write(
        folder / "pytorch_model.bin",  # as accelerate writes it under DDP
        {f"module.ctm_unet.{key}": value for key, value in unet.items()},
        {f"module.{key}": value for key, value in full_size("student", TEXT, keys="text_encoder.").items()},
    )
    del unet
    parts = load_official(student=student, ema=ema)
    assert names(parts.student, "ctm_unet.") | names(parts.text_encoder.model, "text_encoder.") == keys("student")
    assert names(parts.ema) == keys("student_ema")
    same = parts.ema.state_dict()
    assert all(torch.equal(value, same[key]) for key, value in parts.student.state_dict().items())

    inputs, mask = (g["x"], g["timestep"], g["text"]), g["mask"]
    extra = {"s": g["s_timestep"], "omega": g["omega"]}
    out = parts.student(*inputs, encoder_attention_mask=mask, added_cond_kwargs=extra).sample
    close(out, g["student.out"], rtol=3e-5)
    close(parts.ema(*inputs, encoder_attention_mask=mask).sample, g["student.out_plain"], rtol=3e-5)


@torch.no_grad()
def test_audioldm_file_and_back(folder):
    g = golden("i_vae_vocoder")
    state = full_size("audioldm_vae_vocoder", CODEC)
    path = folder / "audioldm-s-full.ckpt"
    others = {"model.diffusion_model.out.2.bias": torch.zeros(8), "logvar": torch.zeros(1000)}
    torch.save({"state_dict": {**others, **state}, "epoch": 7}, path)
    codec = load_official(audioldm=path).codec
    close(codec.decode_mel(g["small.z"]), g["small.decoded"], rtol=3e-5)
    close(codec.mel_to_waveform(g["voc.mel"]), g["voc.wave"][:, : 48 * 160], rtol=3e-5)
    back = codec_state(codec)
    assert back.keys() == state.keys()
    assert all(torch.equal(value, back[key]) for key, value in state.items())
