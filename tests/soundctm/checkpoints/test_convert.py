"""Official files -> our folder -> official files, through the command."""

import json

import official_dit
import pytest
import torch
from helpers import UNET_CONFIG
from official_files import TEXT_CONFIG, write_small

from soundctm.checkpoints import load_checkpoint, load_official, save_checkpoint
from soundctm.checkpoints.convert import main
from soundctm.checkpoints.torch_files import read_state_dict


@pytest.fixture
def small(tmp_path):
    """Arguments for the small configuration, and the small official files."""
    configs = []
    for flag, config in (("--unet_config", UNET_CONFIG), ("--text_config", TEXT_CONFIG)):
        path = tmp_path / f"{flag[2:]}.json"
        path.write_text(json.dumps(config))
        configs += [flag, str(path)]
    (tmp_path / "official").mkdir()
    return configs, write_small(tmp_path / "official")


def flags(paths):
    return [word for name, path in paths.items() for word in (f"--{name}", str(path))]


def test_there_and_back_gives_the_same_tensors(small, tmp_path, capsys, caplog):
    configs, paths = small
    folder, back = tmp_path / "folder", tmp_path / "back"
    assert main(["to-folder", *flags(paths), *configs, "--output", str(folder)]) == 0
    assert "ema, student, teacher, text_encoder" in capsys.readouterr().out
    assert "captions need it" in caplog.text  # no tokenizer here: said, and not fatal
    assert main(["to-official", "--checkpoint", str(folder), "--output", str(back)]) == 0
    for name in ("teacher", "student", "ema"):
        before, after = read_state_dict(paths[name]), read_state_dict(back / paths[name].name)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    summary = json.loads((back / "summary.jsonl").read_text())
    assert summary == json.loads(paths["summary"].read_text().splitlines()[0])


def test_half_precision_folder_keeps_the_text_encoder_whole(small, tmp_path):
    configs, paths = small
    folder = tmp_path / "folder"
    assert main(["to-folder", *flags(paths), *configs, "--output", str(folder), "--dtype", "float16"]) == 0
    parts = load_checkpoint(folder)
    text = {k: v for k, v in read_state_dict(paths["student"]).items() if k.startswith("text_encoder.")}
    state = parts.text_encoder.model.state_dict()
    assert all(torch.equal(value, state[key.removeprefix("text_encoder.")]) for key, value in text.items())
    assert torch.equal(parts.ema.conv_in.weight, read_state_dict(paths["ema"])["conv_in.weight"].half().float())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["to-folder"], "give at least one of --student"),
        (["to-folder", "--ema", "nothing.pt"], "no checkpoint file at nothing.pt"),
        (["to-official", "--checkpoint", "./nothing"], "no checkpoint folder at"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, says, tmp_path, capsys):
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_the_official_layout_cannot_hold_is_said(small, tmp_path, capsys):
    configs, paths = small
    folder = tmp_path / "folder"
    only = {"ema": paths["ema"], "summary": paths["summary"]}
    assert main(["to-folder", *flags(only), *configs, "--output", str(folder)]) == 0
    assert main(["to-official", "--checkpoint", str(folder), "--output", str(tmp_path / "ema")]) == 0
    assert main(["to-official", "--checkpoint", str(folder), "--output", str(tmp_path / "ema")]) == 2
    assert "already exists" in capsys.readouterr().err
    without_text = load_official(student=paths["student"], unet_config=UNET_CONFIG, text_config=TEXT_CONFIG)
    without_text.text_encoder = None
    save_checkpoint(tmp_path / "student", without_text)
    assert main(["to-official", "--checkpoint", str(tmp_path / "student"), "--output", str(tmp_path / "x")]) == 2
    assert "carry a T5 text encoder; this checkpoint's is none" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_soundctm_dit_there_and_back(tmp_path, capsys, caplog):
    """The files say by themselves which model they are of; its own defaults come with the folder."""
    paths = official_dit.write_small(tmp_path, roles=("ema", "teacher"))
    folder, back, given = tmp_path / "folder", tmp_path / "back", flags(paths)
    assert main(["to-folder", *given, "--output", str(folder)]) == 0
    assert "ema, teacher, codec, text_encoder" in capsys.readouterr().out
    assert "captions need it" in caplog.text
    parts = load_checkpoint(folder, ("ema", "teacher"))
    assert parts.sampling.omega == 5.0 and parts.codec.sampling_rate == 44_100 and parts.text_encoder.dim == 128
    assert main(["to-official", "--checkpoint", str(folder), "--output", str(back)]) == 0
    for name in ("ema", "teacher"):
        before, after = read_state_dict(paths[name]), read_state_dict(back / paths[name].name)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before if "to_global_embed" not in key)
    half = tmp_path / "half"
    assert main(["to-folder", *given, "--output", str(half), "--dtype", "bfloat16"]) == 0
    read = load_checkpoint(half)
    assert torch.equal(read.codec.z_std, parts.codec.z_std) and read.ema.dtype == torch.float32
    assert torch.equal(read.codec.post_conv.weight, parts.codec.post_conv.weight.bfloat16().float())


def test_files_of_two_models_are_not_mixed(small, tmp_path, capsys):
    configs, paths = small
    dit = official_dit.write_small(tmp_path)
    for given in ({"ema": paths["ema"], "teacher": dit["ema"]}, {"ema": paths["ema"], "z_stats": dit["z_stats"]}):
        assert main(["to-folder", *flags(given), *configs, "--output", str(tmp_path / "x")]) == 2
        error = capsys.readouterr().err
        assert "is a file of SoundCTM-DiT, and" in error and error.count("\n") == 1
    assert not (tmp_path / "x").exists()
