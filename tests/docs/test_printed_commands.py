"""README and docs, command by command and call by call, in a fresh clone: what a reader meets who follows them.

How each is run, and what is not, says tests/printed_runs.py. All pages are nightly; an own folder, own sounds and the
calls are CI's, too.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest
import torch
from printed import PAGES, ROOT, calls, commands, printed
from printed_runs import BEGUN, FILLED, NOT_HERE, SHORTER, in_order, reason, run
from stand_ins import write_corpus, write_fetched, write_own, write_vggish

pytestmark = pytest.mark.slow

QUICK = r"numerical_evaluation.sh --reference_dir real|training.table|--validate_data|mine-teacher|exp/mine"
ELSEWHERE = {'"cuda"': '"cpu"'}  # what calls name that a machine may lack
CALLED = {  # variables that the text around a call speaks of
    "performance.md": "from soundctm import SoundCTMPipeline; pipe = SoundCTMPipeline.from_pretrained('mini')",
    "extractors.md": "import torch; waveform = torch.zeros(16000)",
}


def cloned(folder):
    """A fresh clone in `folder`, with what a reader has."""
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(folder)], check=True)
    write_own(folder)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return cloned(tmp_path_factory.mktemp("printed") / "clone")


@pytest.fixture(scope="module")
def with_corpus(clone):
    write_corpus(clone / "data" / "corpus", clone / "data" / "corpus.csv")
    write_fetched(clone)
    return clone


def test_own_folders_and_own_sounds(clone):
    """An own folder evaluated, and from ten wavs to hearing the model that learned them."""
    listed = [c for page in ("README.md", "docs/training.md") for c in commands(clone / page)]
    listed = [c for c in listed if re.search(QUICK, c) and not reason(c)]
    assert len(listed) >= 7
    for command in listed:
        run(command, clone)
    for heard in ("exp/mine-teacher/heard", "exp/mine/heard"):
        assert (clone / heard / "a_dog_barking.wav").is_file()


def test_commands_of_the_editing_page(clone, monkeypatch, capsys):
    """In this process, where the model's libraries are loaded already."""
    from soundctm.inference.run import main

    monkeypatch.chdir(clone)
    listed = commands(clone / "docs" / "editing.md")
    edits = [shlex.split(c)[2:] for c in listed if c.startswith("python ctm_inference.py -")]
    assert len(edits) >= 11
    for arguments in edits:
        assert main(arguments) == 0, f"{arguments}\n{capsys.readouterr().err}"
        assert list(clone.joinpath(arguments[arguments.index("--output_dir") + 1]).glob("*.wav"))


@pytest.mark.parametrize("page", [page for page in PAGES if calls(page)], ids=lambda page: page.name)
def test_the_calls_of_a_page_run_as_printed(page, clone, monkeypatch):
    """Block by block, as somebody types them into one session of Python."""
    monkeypatch.chdir(clone)
    if page.name == "extractors.md":
        write_vggish(clone / "downloads")
    names: dict[str, object] = {}
    exec(CALLED.get(page.name, ""), names)
    for block in calls(page):
        for there, here in ELSEWHERE.items():
            block = block if torch.cuda.is_available() else block.replace(there, here)
        exec(compile(block, page.name, "exec"), names)


def test_pages_have_calls():
    assert sum(len(calls(page)) for page in PAGES) >= 18


@pytest.mark.nightly
def test_every_page_from_the_first_command_to_the_last(with_corpus):
    first = [ROOT / "README.md", ROOT / "docs" / "training.md"]  # later pages use what these make
    pages = [*first, *(page for page in PAGES if page not in first)]
    listed = in_order([c for page in pages for c in commands(with_corpus / page.relative_to(ROOT))])
    failed = []
    for command in listed:
        if reason(command) is None and not any(re.search(pattern, command) for pattern in BEGUN):
            try:
                run(command, with_corpus)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed.append(str(error))
    assert not failed, "\n\n".join(failed)


@pytest.mark.nightly
def test_trainings_of_hours_begin_as_printed_and_stop_when_told(with_corpus, tmp_path):
    fresh = cloned(tmp_path / "clone")
    (fresh / "data" / "corpus").symlink_to(with_corpus / "data" / "corpus")
    for command in ("bash ctm_train.sh", "bash ctm_train.sh dit", "bash ctm_train.sh all"):
        assert any(command in commands(page) for page in PAGES)
        run(command, fresh)
    assert list(fresh.glob("exp/distill/checkpoint-*")) and list(fresh.glob("exp/dit-teacher/checkpoint-*"))
    shutil.rmtree(fresh)


def test_every_reason_and_every_option_belongs_to_a_command():
    listed = [command for _, command in printed()]
    for table in (NOT_HERE, SHORTER, FILLED, BEGUN):
        for pattern in table:
            assert any(re.search(pattern, command) for command in listed), f"no command has {pattern}"
