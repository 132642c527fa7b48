"""Every `soundctm ...` of README and docs, run as printed from an empty folder, and every block of docs/make.md."""

import re
import shlex

import pytest
from script_runs import ROOT

from soundctm.commands import main

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NEEDS_FILES = r"ckpt/full|SoundCTM/manifest.csv|soundctm (train|evaluate|convert|edit)\b"  # of the reader's
SERVES = r"soundctm (serve|studio)\b"  # until it is told to end; tests of the service and the studio start them


def printed() -> list[str]:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    found = re.findall(r"^    (soundctm [^\n]+)$", text, re.M) + re.findall(r"`(soundctm [a-z]+ [^`]+)`", text)
    return [line for line in dict.fromkeys(re.sub(r"\s+# .*$", "", line) for line in found)]


RUN = [line for line in printed() if not re.search(f"{NEEDS_FILES}|{SERVES}", line)]


@pytest.fixture(scope="module")
def mini():
    from soundctm import SoundCTMPipeline

    pipe = SoundCTMPipeline.from_pretrained("mini", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def empty(mini, tmp_path, monkeypatch):
    """An empty folder, and the small model loaded once."""
    monkeypatch.chdir(tmp_path)
    for module in ("soundctm.commands.generate", "soundctm.inference.run"):
        monkeypatch.setattr(f"{module}.load_pipeline", lambda options, device: mini)
    return tmp_path


@pytest.mark.parametrize("line", RUN)
def test_a_printed_command_runs_as_printed(line, empty, capsys):
    words = shlex.split(line)
    assert main(words[1:]) == 0, capsys.readouterr().err
    if "-o" in words:
        made = empty / words[words.index("-o") + 1]
        assert made.is_file() or list(made.glob("*.wav"))


def test_there_are_some():
    assert len(RUN) >= 5


def test_the_blocks_of_the_page_run_as_printed(empty, mini, monkeypatch):
    from soundctm import SoundCTMPipeline

    monkeypatch.setattr(SoundCTMPipeline, "from_pretrained", lambda name: {"mini": mini}[name])
    for page in ("make.md", "index.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            exec(compile(block, page, "exec"), {})
    assert len(list(empty.glob("clip*.wav"))) == 4 and (empty / "dog.wav").is_file()
