"""ctm_inference.py as a user runs it: wrong input is one line and exit code 2, right input is sound."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from script_runs import ROOT, run_script

from soundctm.inference.run import main

SCRIPT = str(ROOT / "ctm_inference.py")


def infer(*arguments):
    return run_script(sys.executable, SCRIPT, *map(str, arguments))


@pytest.fixture
def bad_csv(tmp_path):
    def write(text):
        (tmp_path / "bad.csv").write_text(text)
        return tmp_path / "bad.csv"

    return write


def refused(done: subprocess.CompletedProcess, *says: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("loading ")]  # the first sign of life
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    for text in says:
        assert text in done.stderr


def test_no_such_csv(tiny_checkpoint, tmp_path):
    result = infer("--checkpoint", tiny_checkpoint, "--test_file", tmp_path / "none.csv")
    refused(result, "there is no file", "none.csv")


def test_csv_without_captions(tiny_checkpoint, bad_csv):
    refused(infer("--checkpoint", tiny_checkpoint, "--test_file", bad_csv("file_name,text\na,b\n")), "file_name, text")


def test_empty_csv(tiny_checkpoint, bad_csv):
    refused(infer("--checkpoint", tiny_checkpoint, "--test_file", bad_csv("")), "is empty")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--num_steps", "0"], "num_steps is 0"),
        (["--num_steps", "one"], "it must be int"),
        (["--sampling_gamma", "1.5"], "between 0 and 1"),
        (["--sampling_gamma", "nan"], "finite number"),
        (["--sampler", "euler"], "gamma_multistep"),
        (["--weights", "teacher", "--num_steps", "1"], "at least 2"),
        (["--device", "abacus"], "abacus"),
        (["--device", "cuda:63"], "cuda:63"),
        (["--model", "no.bin"], "no.bin"),
        (["--omega", "inf"], "finite"),
        (["--config", "no.yaml"], "no.yaml"),
    ],
)
def test_options_outside_their_range(tiny_checkpoint, tmp_path, arguments, says):
    checkpoint = [] if "--model" in arguments else ["--checkpoint", tiny_checkpoint]
    weights = ["--weights", "student"] if "--model" in arguments else []
    refused(infer(*checkpoint, *weights, "--prompt", "rain", "--output_dir", tmp_path / "out", *arguments), says)


def test_unknown_flags_are_refused(tiny_checkpoint):
    done = infer("--checkpoint", tiny_checkpoint, "--prompt", "rain", "--num_step", "4")
    assert done.returncode == 2 and "no option --num_step (did you mean --num_steps?)" in done.stderr


@pytest.mark.parametrize("name", ["no/such/folder", "ckpt_that_is_not_there", "../x"])
def test_no_such_checkpoint(name):
    refused(infer("--checkpoint", name, "--prompt", "rain"), name)


def test_folder_that_is_no_checkpoint_and_file_in_its_place(tmp_path):
    refused(infer("--checkpoint", tmp_path, "--prompt", "rain"), "model_index.json")
    (tmp_path / "file").write_text("x")
    refused(infer("--checkpoint", tmp_path / "file", "--prompt", "rain"), "no checkpoint folder")


def test_what_the_user_gave_is_checked_before_torch_is_imported(tiny_checkpoint, tmp_path):
    """The folder lies below a file, so that it cannot be made even by root."""
    (tmp_path / "file").write_text("x")
    code = (
        "import sys; from soundctm.inference.run import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if 'torch' in sys.modules else code)"
    )
    arguments = [
        "--checkpoint",
        str(tiny_checkpoint),
        "--prompt",
        "rain",
        "--output_dir",
        str(tmp_path / "file" / "out"),
    ]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    refused(done, "cannot be written")


def test_captions_become_sounds(tiny_checkpoint, tmp_path):
    """Hostile and equal names stay inside the folder and lose no clip; a second run has nothing to do."""
    captions, out = tmp_path / "captions.csv", tmp_path / "out"
    captions.write_text("file_name,caption\n../../up.wav,rain\n/abs.wav,wind\nx.wav,hail\nsub/x.wav,a dog\n")
    command = ["--checkpoint", tiny_checkpoint, "--test_file", captions, "--output_dir", out, "--num_steps", "2"]
    done = infer(*command, "--batch_size", "3", "--save_spectrograms")
    assert done.returncode == 0, done.stderr
    with open(out / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and rows[0]["file"] == "up.wav" and rows[1]["file"] == "abs.wav"
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.wav")} == {row["file"] for row in rows}
    assert len(list(out.rglob("*.png"))) == 4 and not list(tmp_path.glob("*.wav"))
    for row in rows:
        audio, rate = soundfile.read(out / row["file"])
        assert rate == 16000 and len(audio) == 10240 and np.isfinite(audio).all()
    again = infer(*command, "--batch_size", "1")
    assert again.returncode == 0 and "4 of 4 clips are there already" in again.stderr


def test_folders_and_files_whose_names_are_not_utf8(tiny_checkpoint, tmp_path):
    """Checkpoint, captions, output folder and a sound to begin with: as bytes, as a shell gives them."""
    place = os.fsencode(tmp_path) + b"/caf\xe9"
    shutil.copytree(os.fsencode(tiny_checkpoint), place + b"/model")
    with open(place + b"/\xe9.csv", "w") as file:
        file.write("file_name,caption\na.wav,rain\n")
    model, out = [b"--checkpoint", place + b"/model"], [b"--output_dir", place + b"/out"]
    first = [sys.executable, SCRIPT, *model, b"--test_file", place + b"/\xe9.csv", *out, b"--save_spectrograms"]
    done = run_script(*first)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(place + b"/out")) == [b"a.png", b"a.wav", b"config.yaml", b"manifest.csv"]
    assert "1 of 1 clips are there already" in run_script(*first).stderr
    edit = [b"--prompt", b"rain", b"--init_audio", place + b"/out/a.wav", b"--strength", b"0.3", *out]
    done = run_script(sys.executable, SCRIPT, *model, *edit)
    assert done.returncode == 0, done.stderr
    again = [b"--manifest", place + b"/out/manifest.csv", b"--only", b"rain.wav", b"--output_dir", place + b"/again"]
    done = run_script(sys.executable, SCRIPT, *again)
    assert done.returncode == 0, done.stderr
    with open(place + b"/out/rain.wav", "rb") as one, open(place + b"/again/rain.wav", "rb") as other:
        assert one.read() == other.read()


def test_the_same_command_gives_the_same_bits_and_a_batch_the_same_sound(tiny_checkpoint, tmp_path):
    def clips(name, *arguments):
        prompts = [part for text in ("rain", "wind", "hail") for part in ("--prompt", text)]
        settings = ["--checkpoint", str(tiny_checkpoint), "--output_dir", str(tmp_path / name), "--device", "cpu"]
        assert main([*settings, *prompts, *arguments]) == 0
        return {path.name: soundfile.read(path, dtype="int16")[0] for path in sorted((tmp_path / name).glob("*.wav"))}

    first, second, batched = clips("a"), clips("b"), clips("c", "--batch_size", "3")
    for name, audio in first.items():
        assert np.array_equal(audio, second[name])
        assert np.abs(audio.astype(int) - batched[name]).max() <= 2
    assert not np.array_equal(first["rain.wav"], first["wind.wav"])


def test_teacher_weights(tiny_checkpoint, tmp_path):
    command = ["--checkpoint", tiny_checkpoint, "--prompt", "rain", "--output_dir", tmp_path, "--weights", "teacher"]
    assert infer(*command, "--num_steps", "4").returncode == 0
    assert "heun,4,3.5,," in (tmp_path / "manifest.csv").read_text()


def test_processes_of_accelerate_launch_share_the_prompts(tiny_checkpoint, tmp_path):
    (tmp_path / "captions.txt").write_text("rain\nwind\nhail\n")
    launch = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2"]
    command = [*launch, SCRIPT, "--checkpoint", tiny_checkpoint, "--test_file", tmp_path / "captions.txt"]
    done = run_script(*map(str, command), "--output_dir", str(tmp_path / "out"), "--device", "cpu", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").glob("*.wav")} == {"rain.wav", "wind.wav", "hail.wav"}
    with open(tmp_path / "out" / "manifest.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
