"""Torch files in the layout of the official release, filled by the goldens' rule: small ones and full-size ones."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from helpers import GOLDENS, UNET_CONFIG, tensor_for
from transformers import T5Config, T5EncoderModel

from soundctm.networks import StudentUNet, TeacherUNet

TEXT_CONFIG = {
    "vocab_size": 96, "d_model": 32, "d_kv": 16, "d_ff": 80, "num_layers": 3, "num_heads": 4,
    "feed_forward_proj": "gated-gelu", "is_encoder_decoder": False,
}  # fmt: skip
SEEDS = {"teacher": 101, "student": 202, "ema": 303, "text": 505}
SUMMARY = {
    "sigma_data": 0.25,
    "sigma_min": 0.002,
    "sigma_max": 80.0,
    "rho": 7,
    "text_encoder_name": "google/flan-t5-large",
}

State = dict[str, torch.Tensor]


def _filled(make, prefix: str, seed: int) -> State:
    with torch.device("meta"):
        shapes = {prefix + key: value.shape for key, value in make().state_dict().items()}
    return {key: torch.from_numpy(tensor_for(key, shape, seed)) for key, shape in shapes.items()}


def small_text() -> State:
    return _filled(lambda: T5EncoderModel(T5Config(**TEXT_CONFIG)), "text_encoder.", SEEDS["text"])


def small_teacher() -> State:
    return {**_filled(lambda: TeacherUNet.from_config(UNET_CONFIG), "unet.", SEEDS["teacher"]), **small_text()}


def small_student() -> State:
    return {**_filled(lambda: StudentUNet.from_config(UNET_CONFIG), "ctm_unet.", SEEDS["student"]), **small_text()}


def small_ema() -> State:
    """The goldens fill the target network under its name in the model; its file has no prefix."""
    state = _filled(lambda: StudentUNet.from_config(UNET_CONFIG), "ctm_unet.", SEEDS["ema"])
    return {key.removeprefix("ctm_unet."): value for key, value in state.items()}


def write_small(folder: Path) -> dict[str, Path]:
    """All files but the codec's, as arguments of `load_official`."""
    paths = {
        "teacher": folder / "pytorch_model_2_sigma_025.bin",
        "student": folder / "pytorch_model.bin",
        "ema": folder / "ema_0.999_030000.pt",
        "summary": folder / "summary.jsonl",
    }
    torch.save(small_teacher(), paths["teacher"])
    torch.save(small_student(), paths["student"])
    torch.save(small_ema(), paths["ema"])
    paths["summary"].write_text(json.dumps(SUMMARY) + "\n" + json.dumps({"step": 1}) + "\n")
    return paths


def full_size(manifest: str, seed: int, keys: str = "", prefix: str = "") -> State:
    """The tensors of a manifest whose names begin with `keys`.

    `prefix` is what the goldens' rule puts before the names: the EMA file's names lack their `ctm_unet.`.
    """
    entries = json.loads((GOLDENS / "manifests" / f"{manifest}.json").read_text())["tensors"]
    return {
        key: torch.from_numpy(tensor_for(prefix + key, entry["shape"], seed))
        for key, entry in entries.items()
        if key.startswith(keys)
    }
