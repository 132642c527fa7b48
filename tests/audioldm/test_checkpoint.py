"""Reading audioldm-s-full.ckpt: clear errors for wrong files, and nothing in a file is ever executed."""

import json
import os
import pickle
import re

import pytest
import torch
from helpers import GOLDENS

from soundctm.audioldm import CodecError
from soundctm.audioldm.checkpoint import (
    codec_from_state_dict,
    load_audioldm_checkpoint,
    official_vae_key,
    official_vocoder_key,
)
from soundctm.audioldm.unpickle import load_checkpoint
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import build_hifigan


def manifest() -> dict[str, torch.Tensor]:
    """Every entry of the official file, without memory behind it."""
    entries = json.loads((GOLDENS / "manifests" / "audioldm_vae_vocoder.json").read_text())["tensors"]
    return {key: torch.zeros(()).expand(entry["shape"]) for key, entry in entries.items()}


def test_every_key_of_the_manifest_has_one_place():
    with torch.device("meta"):
        vae, vocoder = build_vae(), build_hifigan()
    ours = [f"first_stage_model.{official_vae_key(key)}" for key in vae.state_dict()]
    ours += [f"first_stage_model.vocoder.{official_vocoder_key(key)}" for key in vocoder.state_dict()]
    ours = [key for key in ours if not key.endswith(("vocoder.mean", "vocoder.scale"))]
    assert len(ours) == len(set(ours))
    assert {*ours, "scale_factor"} == set(manifest())


def test_missing_extra_and_misshapen_keys_are_all_named():
    state = manifest()
    del state["first_stage_model.quant_conv.bias"]
    state["first_stage_model.surprise"] = torch.zeros(1)
    state["first_stage_model.vocoder.ups.0.bias"] = torch.zeros(3)
    with pytest.raises(CodecError) as caught:
        codec_from_state_dict(state)
    message = str(caught.value)
    assert "1 missing: first_stage_model.quant_conv.bias" in message
    assert "1 not expected: first_stage_model.surprise" in message
    assert "first_stage_model.vocoder.ups.0.bias (3,) instead of (512,)" in message


def test_many_missing_keys_are_counted():
    with pytest.raises(CodecError, match=r"399 missing: .* and 396 more"):
        codec_from_state_dict({})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read|refused"),
        (b"not a checkpoint at all", "cannot be read|refused"),
        (None, "no checkpoint file"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path, content, message):
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CodecError, match=message) as caught:
        load_audioldm_checkpoint(path)
    assert "x.ckpt" in str(caught.value) and "\n" not in str(caught.value)


def test_truncated_file(tmp_path):
    path = tmp_path / "cut.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CodecError, match=re.escape("cut.ckpt")):
        load_checkpoint(path)


def test_without_state_dict(tmp_path):
    torch.save({"weights": {}}, tmp_path / "x.ckpt")
    with pytest.raises(CodecError, match="state_dict"):
        load_audioldm_checkpoint(tmp_path / "x.ckpt")


class Malicious:
    """Unpickles into a call that creates a file."""

    def __init__(self, target) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("layout", ["zip", "legacy", "plain pickle"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, layout):
    path, proof = tmp_path / "evil.ckpt", tmp_path / "proof"
    content = {"state_dict": {}, "callbacks": Malicious(proof)}
    if layout == "plain pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(CodecError, match="refused"):
        load_audioldm_checkpoint(path)
    assert not proof.exists()


def lightning_class(name: str) -> type:
    """A stand-in for a class that is not installed, pickled by its name."""
    return type(name, (), {"__module__": "pytorch_lightning.callbacks.model_checkpoint"})


def test_lightning_book_keeping_is_read_as_nothing(tmp_path, monkeypatch):
    import sys
    import types

    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = lightning_class("ModelCheckpoint")
    monkeypatch.setitem(sys.modules, "pytorch_lightning", types.ModuleType("pytorch_lightning"))
    monkeypatch.setitem(sys.modules, "pytorch_lightning.callbacks", types.ModuleType("pytorch_lightning.callbacks"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    state = module.ModelCheckpoint()
    state.best = {"score": 1.0}
    path = tmp_path / "lightning.ckpt"
    torch.save({"callbacks": {module.ModelCheckpoint: state}, "state_dict": {"a": torch.ones(2)}}, path)
    monkeypatch.undo()
    content = load_checkpoint(path)
    assert torch.equal(content["state_dict"]["a"], torch.ones(2))
    assert "pytorch_lightning" not in sys.modules


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("scale_factor", 0.18, "scale_factor is no plain tensor"),
        ("scale_factor", torch.zeros(()), "scale_factor must be one number"),
        ("scale_factor", torch.full((2,), 0.2), "scale_factor must be one number"),
        ("first_stage_model.quant_conv.bias", [0.0] * 16, "quant_conv.bias is no plain tensor"),
        ("first_stage_model.quant_conv.bias", torch.zeros(16).to_sparse(), "quant_conv.bias is no plain tensor"),
        ("first_stage_model.quant_conv.bias", torch.full((16,), float("nan")), "not finite"),
    ],
)
def test_values_that_are_no_weights_are_refused(key, value, said):
    state = manifest() | {7: "book-keeping", "scale_factor": torch.tensor(0.18), key: value}
    with pytest.raises(CodecError, match=said):
        codec_from_state_dict(state)
