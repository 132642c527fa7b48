"""The commands that name official files, as printed: over files of every official key and shape, filled at random.

The downloads are asked of a hub on this machine that has the release's names, and must give the places that the next
command names. Needs 12 GiB of memory, 20 GB of disk and minutes for each command, so it is nightly.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess

import pytest
import soundfile
import torch
from dit import FOLDER, filled
from hub import hub
from official_files import SUMMARY, full_size
from printed import PAGES, ROOT, commands
from printed_runs import NOT_HERE, run
from stand_ins import cached, write_t5, write_tokenizer
from transformers import RobertaConfig

pytestmark = pytest.mark.slow

OFFICIAL = next(pattern for pattern, why in NOT_HERE.items() if "test_official_commands" in why)
RELEASES = {
    "Sony/soundctm": [
        "README.md",
        "soundctm_ckpt/030000/pytorch_model.bin",
        "soundctm_ckpt/030000/ema_0.999_030000.pt",
        "soundctm_ckpt/030000/summary.jsonl",
        "ckpt/audioldm-s-full.ckpt",
        "ckpt/teacher/pytorch_model_2_sigma_025.bin",
    ],
    "koichisaito/soundctm_dit": [
        "model_checkpoints/soundctm/ac_v2_ema_0999_030000.pt",
        "model_checkpoints/soundctm/z_stats.pth",
        "utils_checkpoints/vae/gaussiandac/weights.pth",
    ],
}


def of_page(name: str) -> list[str]:
    """Its commands that name official files."""
    return [command for command in commands(ROOT / "docs" / name) if re.search(OFFICIAL, command)]


def test_downloads_bring_what_the_next_commands_name(tmp_path):
    listed = commands(ROOT / "docs" / "official.md")
    fetched = [command for command in listed if command.startswith("hf download")]
    assert len(fetched) == len(RELEASES)
    with hub(RELEASES) as address:
        for command in fetched:
            run(command, tmp_path, HF_ENDPOINT=address, HF_HUB_OFFLINE="0", HF_HOME=str(tmp_path / "home"))
    named = {
        word for command in listed for word in shlex.split(command) if re.match(r"ckpt/(official|soundctm_dit)/", word)
    }
    assert len(named) >= 9 and all((tmp_path / word).exists() for word in named), named
    assert not list(tmp_path.rglob("pytorch_model_2*")), "the teacher was left out"


def at_random(manifest: str | dict, seed: int) -> dict[str, torch.Tensor]:
    """The tensors of an official file of SoundCTM-DiT."""
    if isinstance(manifest, str):
        manifest = json.loads((FOLDER / "manifests" / f"{manifest}.json").read_text())
    return {
        key: torch.zeros(entry["shape"], dtype=torch.long)
        if entry["dtype"] == "int64"
        else filled(key, entry["shape"], seed)
        for key, entry in manifest["tensors"].items()
    }


def save(path, *states):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({key: value for state in states for key, value in state.items()}, path)


@pytest.fixture
def clone(tmp_path):
    if shutil.disk_usage(tmp_path).free < 20e9:
        pytest.skip("needs 20 GB of free disk")
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(folder)], check=True)
    write_t5(folder / "standin" / "hub")
    roberta = cached(folder / "standin" / "hub", "roberta-base")
    write_tokenizer(roberta, ("<s>", "<pad>", "</s>", "<unk>", "water"))
    RobertaConfig().save_pretrained(roberta)
    yield folder
    shutil.rmtree(tmp_path)


@pytest.mark.nightly
def test_the_16_khz_release(clone):
    release = clone / "ckpt" / "official"
    unet = full_size("student_ema", 5002, prefix="ctm_unet.")
    save(release / "soundctm_ckpt/030000/ema_0.999_030000.pt", unet)
    named = {f"ctm_unet.{key}": value for key, value in unet.items()}
    save(release / "soundctm_ckpt/030000/pytorch_model.bin", named, full_size("student", 5003, keys="text_encoder."))
    del unet, named
    (release / "soundctm_ckpt/030000/summary.jsonl").write_text(json.dumps(SUMMARY) + "\n")
    (release / "ckpt").mkdir()
    torch.save({"state_dict": full_size("audioldm_vae_vocoder", 404)}, release / "ckpt/audioldm-s-full.ckpt")
    for command in of_page("official.md"):
        if "official/soundctm_ckpt" in command or "ckpt/full" in command:
            run(command, clone)
    made = [clone / "dog.wav", *(clone / "outputs" / "full").glob("*.wav")]
    assert [soundfile.info(path).frames for path in made] == [163_840, 163_840]


@pytest.mark.nightly
def test_the_teacher_of_the_16_khz_release(clone):
    save(
        clone / "pytorch_model_2_sigma_025.bin",
        full_size("teacher", 5001, keys="unet."),
        full_size("teacher", 5003, keys="text_encoder."),
    )
    torch.save({"state_dict": full_size("audioldm_vae_vocoder", 404)}, clone / "audioldm-s-full.ckpt")
    (command,) = [command for command in of_page("training.md") if "pytorch_model_2" in command]
    run(command, clone)
    assert (clone / "ckpt/full/teacher/config.json").is_file() and (clone / "ckpt/full/codec/config.json").is_file()


@pytest.mark.nightly
def test_the_44_khz_release(clone):
    models, vae = (
        clone / "ckpt" / "soundctm_dit" / place for place in ("model_checkpoints/soundctm", "utils_checkpoints/vae")
    )
    codec = json.loads((FOLDER / "manifests" / "gaussiandac_rates_2_4_8_16.json").read_text())
    save(models / "ac_v2_ema_0999_030000.pt", at_random("student_ema_v2", 1303))
    save(models / "z_stats.pth", {"z_mean": torch.zeros(64), "z_std": torch.ones(64)})
    (vae / "gaussiandac").mkdir(parents=True)
    state = {"state_dict": at_random(codec, 1404), "metadata": {"kwargs": codec["kwargs"]}}
    torch.save(state, vae / "gaussiandac" / "weights.pth")
    for command in of_page("official.md"):
        if "soundctm_dit/model_checkpoints" in command:
            run(command, clone)
    (made,) = clone.glob("output*/**/*.wav")
    info = soundfile.info(made)
    assert (info.samplerate, info.subtype) == (44_100, "FLOAT") and info.frames == 442_367
    shutil.rmtree(clone / "exp", ignore_errors=True)
    (clone / "exp" / "dit-v2").mkdir(parents=True)
    (clone / "exp" / "dit-v2" / "model").symlink_to(clone / "ckpt" / "dit-v2")  # what the training there would write
    run(next(command for command in of_page("training.md") if "exp/dit-v2/model" in command), clone)
    assert list((clone / "exp" / "dit-v2" / "heard").glob("*.wav"))


def test_every_command_of_official_files_is_in_one_of_these():
    """Downloads above, conversions and clips of official.md, and these of training.md."""
    assert {page.name for page in PAGES if re.search(OFFICIAL, "\n".join(commands(page)))} == {
        "official.md",
        "training.md",
    }
    assert [command.split()[:4] for command in of_page("training.md")] == [
        ["python", "-m", "soundctm.checkpoints.convert", "to-folder"],
        ["python", "-m", "soundctm.checkpoints.convert", "to-folder"],
        ["python", "ctm_inference.py", "--checkpoint", "exp/dit-v2/model"],
    ]
