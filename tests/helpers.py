"""What golden tests share: reading a golden, filling weights by its rule, comparing relative to the largest value."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

GOLDENS = Path(__file__).parent / "goldens"
sys.path.insert(0, str(GOLDENS))
from weights import fill_state_dict_, from_manifest, tensor_for  # noqa: E402

__all__ = [
    "GOLDENS",
    "UNET_CONFIG",
    "close",
    "fill_state_dict_",
    "from_manifest",
    "golden",
    "golden_meta",
    "tensor_for",
]

UNET_CONFIG = json.loads((GOLDENS / "unet_config.json").read_text())


def golden(name: str) -> dict[str, torch.Tensor]:
    """All tensors of tests/goldens/<name>.safetensors."""
    return load_file(GOLDENS / f"{name}.safetensors")


def golden_meta(name: str) -> dict:
    """Settings with which a golden was made."""
    return json.loads((GOLDENS / "index.json").read_text())[name]["meta"]


def close(a: torch.Tensor, b: torch.Tensor, rtol: float, atol: float = 0.0) -> None:
    """Assert equal shapes and a maximal error of at most rtol times the largest value of `b`, plus atol."""
    assert a.shape == b.shape, f"{tuple(a.shape)} is not {tuple(b.shape)}"
    error = (a.double() - b.double()).abs().max().item()
    scale = b.double().abs().max().item()
    assert error <= rtol * scale + atol, f"error {error:.3g} of scale {scale:.3g} is above {rtol:g} relative"
