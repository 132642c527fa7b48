"""README and docs, command by command, in a fresh clone: what a reader meets who follows them.

Commands run as printed. Those that take minutes get further options that make them short (SHORTER); what cannot run
here (NOT_HERE) says why, and its options are read in test_documented_commands.py. Letters that stand for something of
the reader's (FILLED) are filled in. All pages are nightly; an own folder and own sounds are CI's, too.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from printed import PAGES, ROOT, commands, printed
from stand_ins import write_corpus, write_own

pytestmark = pytest.mark.slow

NOT_HERE = {
    r"^(hf|apt-get|pip|uv|git|docker) |build_corpus|^bash ctm_train.sh( all)?$": "it needs a network, or hours",
    r"mkdocs serve": "it ends when it is told to",
    r"^source |^cd |^python -m$|^accelerate launch$|^python ctm_inference.py$": "it is no whole command",
    r"^soundctm (convert|train|evaluate)$": "it is no whole command",
    r" \.\.\.|OPTION|--help$": "it is the beginning of one, or asks for help",
    r"bash run_tests.sh|-m pytest": "it is these tests",
    r"convert to-folder|ckpt/full|exp/full/model|CODEC|TEACHER|^bash ctm_train.sh distill": "its files have 12 GB",
    r"preset|vggish|laion|openl3|--metrics clap": "its weights must be fetched",
    r"cuda|gpu\.sh|--size full|--model dit|--write times.json|multi_gpu|multi_node": "it needs a GPU, or full size",
    r"from_bundle.sh \w+ [57] back": "it is for a GPU; the page has it for a CPU, too",
    r"exp/ablation|--max_minutes 5\d|972|973|ablation.yaml|DISTILL|PART\d": "it repeats a training of an hour",
}
TRAINED = "--items 24 --validation_items 8 --per_device_train_batch_size 2 --sample_clips 2"
SHORTER = {
    r"ctm_train.py (vae|vocoder)": "--steps 2 --batch_size 2",
    r"ctm_train.py teacher (?!.*validate_data)(?=.*train_file)": "--max_train_steps 2 --per_device_train_batch_size 2",
    r"ctm_train.py teacher .*--bundle": "--max_train_steps 2 --per_device_train_batch_size 2",
    r"ctm_train.py teacher (?!.*(train_file|bundle))": f"{TRAINED} --max_train_steps 2",
    r"ctm_train.py distill (?!.*validate_data)(?=.*train_file)": "--total_training_steps 2 --trajectories 8 "
    "--per_device_train_batch_size 2",
    r"ctm_train.py distill (?!.*train_file)": f"{TRAINED} --total_training_steps 2 --trajectories 8",
    r"bundle make": "--items 24 --validation_items 8",
    r"models.sweep": "--steps 1 --samplers deterministic --omega 3.5 --nu 1 --teacher_steps 2 --teacher_omega 3.5",
    r"models.yardstick": "--seeds 1 --clips 1",
    r"models.teacher_distance": "--clips 2 --teacher_steps 4",
    r"benchmarks.codec_quality": "--clips 8",
    r"^soundctm generate .* -o \S+\.(wav|flac)": "--overwrite",  # pages name the same file
    r"benchmarks.control": "--captions 2 --curves rise",
    r"benchmarks.evaluation": "--clips 20",
    r"benchmarks.kills": "--kills 1 --kinds generation",
    r"benchmarks.train_step$": "--size tiny --cpu --repeats 1",
    r"benchmarks.inference --model mini": "--repeats 1",
    r"benchmarks.solver_error": "--clips 2",
}
FILLED = {
    r"\bN\b": "1",
    r"\bDIR\b": "outputs/classes",
    r"\bFILE\b": "exp/bundle.safetensors",
}
BARE = {  # named within a sentence; their options are in the text around them
    "python -m soundctm.evaluation.models.sweep": "--checkpoint ckpt/mini --captions data/test_captions.csv "
    "--reference_dir outputs/reference --output_dir outputs/sweep",
    "python -m soundctm.evaluation.models.round_trip": "--input_dir outputs/reference --output_dir outputs/round_trip",
}
LATER = r"checkpoints.assemble|back/teacher.tar"  # of what the page makes further down
QUICK = r"numerical_evaluation.sh --reference_dir real|training.table|--validate_data|mine-teacher|exp/mine"


def reason(command: str) -> str | None:
    """Why a command is not run here, if it is not."""
    return next((why for pattern, why in NOT_HERE.items() if re.search(pattern, command)), None)


def to_run(command: str) -> str:
    """The command as it is run."""
    command = f"{command} {BARE[command]}" if command in BARE else command
    for pattern, filling in FILLED.items():
        command = re.sub(pattern, filling, command)
    return " ".join([command, *(more for pattern, more in SHORTER.items() if re.search(pattern, command))])


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("printed") / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(folder)], check=True)
    write_own(folder)
    return folder


@pytest.fixture(scope="module")
def with_corpus(clone):
    write_corpus(clone / "data" / "corpus", clone / "data" / "corpus.csv")
    return clone


def run(command: str, clone: Path) -> None:
    """Run a command in the clone, in a shell whose Python is that of the tests. It must end with 0."""
    place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": place, "SOUNDCTM_PYTHON": sys.executable, "HF_HUB_OFFLINE": "1"}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(clone)}  # an installed package would hide the clone
    begun = time.perf_counter()
    installed = 'soundctm() { python -m soundctm "$@"; }; '  # as if it were
    done = subprocess.run(
        ["bash", "-c", installed + command], cwd=clone, env=env, capture_output=True, text=True, timeout=1200
    )
    print(f"{time.perf_counter() - begun:6.1f} s  {done.returncode}  {command}", flush=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def test_own_folders_and_own_sounds(clone):
    """An own folder evaluated, and from ten wavs to hearing the model that learned them."""
    listed = [c for page in ("README.md", "docs/training.md") for c in commands(clone / page)]
    listed = [c for c in listed if re.search(QUICK, c) and not reason(c)]
    assert len(listed) >= 7
    for command in listed:
        run(to_run(command), clone)
    for heard in ("exp/mine-teacher/heard", "exp/mine/heard"):
        assert (clone / heard / "a_dog_barking.wav").is_file()


def test_commands_and_calls_of_the_editing_page(clone, monkeypatch, capsys):
    """In this process, where the model's libraries are loaded already."""
    from soundctm.inference.run import main

    monkeypatch.chdir(clone)
    page = clone / "docs" / "editing.md"
    edits = [shlex.split(c)[2:] for c in commands(page) if c.startswith("python ctm_inference.py -")]
    assert len(edits) >= 11
    for arguments in edits:
        assert main(arguments) == 0, f"{arguments}\n{capsys.readouterr().err}"
        assert list(clone.joinpath(arguments[arguments.index("--output_dir") + 1]).glob("*.wav"))
    lines = re.findall(r"^    ((?:from|\w+ = pipe|pipe)\b.*)$", page.read_text(encoding="utf-8"), re.M)
    assert len(lines) >= 14
    names: dict[str, object] = {}
    for line in lines:
        exec(compile(line, "docs/editing.md", "exec"), names)


@pytest.mark.nightly
def test_every_page_from_the_first_command_to_the_last(with_corpus):
    first = [ROOT / "README.md", ROOT / "docs" / "training.md"]  # later pages use what these make
    failed = []
    for page in [*first, *(page for page in PAGES if page not in first)]:
        listed = dict.fromkeys(commands(with_corpus / page.relative_to(ROOT)))
        for command in sorted(listed, key=lambda command: bool(re.search(LATER, command))):
            if reason(command) is None:
                try:
                    run(to_run(command), with_corpus)
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    failed.append(f"{page.name}: {error}")
    assert not failed, "\n\n".join(failed)


def test_every_reason_and_every_option_belongs_to_a_command():
    listed = [command for _, command in printed()]
    for table in (NOT_HERE, SHORTER, FILLED):
        for pattern in table:
            assert any(re.search(pattern, command) for command in listed), f"no command has {pattern}"
