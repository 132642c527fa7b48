"""Which checkpoint a run means, and what of the official files is read for which weights."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import soundctm.checkpoints
import soundctm.pipeline
from soundctm.errors import UserError
from soundctm.inference.model import checkpoint_files, fingerprint, load_pipeline
from soundctm.inference.run import parse_options


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Flags of an official command line whose files are there, and what is asked of the reader."""
    files = {
        "--training_args": "summary.jsonl",
        "--model": "pytorch_model.bin",
        "--ema_model": "ema_0.999_030000.pt",
        "--stage1_ckpt": "audioldm-s-full.ckpt",
    }
    flags = ["--prompt", "rain", "--text_encoder_name", "google/flan-t5-large"]
    flags += ["--ctm_unet_model_config", "configs/diffusion_model_config.json", "--sampler", "determinisitc"]
    flags += ["--sampling_gamma", "0.", "--test_references", "/path/to/audiocaps/test", "--dtype", "bfloat16"]
    for flag, name in files.items():
        (tmp_path / name).write_bytes(name.encode())
        flags += [flag, str(tmp_path / name)]
    asked = SimpleNamespace()

    def load_official(**given):
        asked.files = {k: v.name if hasattr(v, "name") else str(v).split("/")[-1] for k, v in given.items() if v}
        asked.dtype = given["dtype"]
        return SimpleNamespace(**{role: given.get(role) for role in ("student", "ema", "teacher")})

    monkeypatch.setattr(soundctm.checkpoints, "load_official", load_official)

    class Pipeline(tuple):
        from_parts = staticmethod(lambda parts, weights, device: Pipeline((parts, weights, device)))

        def set_progress_bar_config(self, disable):
            assert disable, "a run has a bar of its own"

    monkeypatch.setattr(soundctm.pipeline, "SoundCTMPipeline", Pipeline, raising=False)
    return SimpleNamespace(flags=flags, asked=asked)


def test_the_official_command_line_reads_the_ema(official):
    options = parse_options(official.flags)
    assert options.official and options.sampler == "deterministic" and options.ctm_unet_model_config is None
    parts, weights, device = load_pipeline(options, "cpu")
    assert (weights, device, parts.student) == ("ema", "cpu", None) and parts.ema.name == "ema_0.999_030000.pt"
    assert official.asked.dtype is torch.bfloat16
    assert official.asked.files == {
        "student": "pytorch_model.bin",
        "ema": "ema_0.999_030000.pt",
        "summary": "summary.jsonl",
        "audioldm": "audioldm-s-full.ckpt",
        "text_encoder_name": "flan-t5-large",
        "dtype": "torch.bfloat16",
    }


@pytest.mark.parametrize("weights", ["student", "teacher"])
def test_other_weights_are_those_of_the_model_file(official, weights):
    options = parse_options([*official.flags, "--weights", weights, "--num_steps", "4"])
    load_pipeline(options, "cpu")
    assert official.asked.files[weights] == "pytorch_model.bin" and "ema" not in official.asked.files
    name, files = checkpoint_files(options)
    assert name.endswith(("pytorch_model.bin", "ema_0.999_030000.pt")) and len(files) == 4


def test_contradictions_between_files(official, tmp_path):
    with pytest.raises(UserError, match="not both"):
        parse_options([*official.flags, "--checkpoint", "ckpt/mini"])
    model = ["--prompt", "rain", "--model", str(tmp_path / "pytorch_model.bin")]
    with pytest.raises(UserError, match="need --ema_model"):
        parse_options(model)
    with pytest.raises(UserError, match="stage1_ckpt"):
        parse_options([*model, "--weights", "student", "--stage1_ckpt", str(tmp_path / "none.ckpt")])


def test_an_official_model_config_of_ones_own_is_used(official, tmp_path):
    (tmp_path / "unet.json").write_text("{}")
    load_pipeline(parse_options([*official.flags, "--ctm_unet_model_config", str(tmp_path / "unet.json")]), "cpu")
    assert official.asked.files["unet_config"] == "unet.json"


def test_a_fingerprint_follows_content_and_not_place(tmp_path):
    def write(folder, last):
        folder.mkdir()
        (folder / "a").write_bytes(b"x" * 200_000 + last)
        (folder / "b").write_bytes(b"y")
        return fingerprint([folder / "a", folder / "b"])

    assert write(tmp_path / "1", b"0") == write(tmp_path / "2", b"0") != write(tmp_path / "3", b"1")
    assert fingerprint([]) == ""


def test_hub_ids_are_left_to_the_hub():
    options = parse_options(["--prompt", "rain", "--checkpoint", "someone/soundctm-mini"])
    assert checkpoint_files(options) == ("someone/soundctm-mini", [])
