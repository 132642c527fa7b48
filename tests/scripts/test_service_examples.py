"""What the service's page prints for curl, and the ReaScript, against a running service."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from printed import ROOT
from serving import serving

PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
SCRIPT = ROOT / "scripts" / "reaper_soundctm.lua"
CURL = re.findall(r"^curl .*$", PAGE, re.M)
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


@pytest.fixture(scope="module")
def address(tiny_checkpoint):
    from soundctm.pipeline import SoundCTMPipeline

    pipe = SoundCTMPipeline.from_pretrained(tiny_checkpoint, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    with serving(pipe) as (address, _):
        yield address


@needs_curl
def test_commands_of_the_page_make_sounds(address, tmp_path):
    assert len(CURL) == 3
    for command in CURL:
        command = command.replace("http://127.0.0.1:8765", address).replace("[[1.0, 1.6]]", "[[0.1, 0.3]]")
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
        file = tmp_path / re.search(r"-o (\S+)", command)[1]
        assert done.returncode == 0 and file.is_file(), done.stderr
        assert soundfile.info(file).frames == 10240, file.read_bytes()[:300]
    assert soundfile.info(tmp_path / "another.flac").format == "FLAC"


def reaper(lua, folder, answers, boxes, inserted):
    """The functions of REAPER that the script calls; a command is run as REAPER runs it, without a shell."""
    import shlex

    def run(command, milliseconds):
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, timeout=milliseconds / 1000)
        return f"{done.returncode}\n{done.stdout}{done.stderr}"

    functions = {
        "GetUserInputs": lambda title, count, captions, values: (True, "\n".join(answers)),
        "GetProjectPath": lambda _: str(folder),
        "ShowMessageBox": lambda text, title, kind: boxes.append(text),
        "InsertMedia": lambda path, mode: inserted.append((path, mode)),
        "ExecProcess": run,
        "file_exists": lambda path: Path(path).exists(),
        "Undo_BeginBlock": lambda: None,
        "Undo_EndBlock": lambda name, flags: None,
    }
    lua.globals().reaper = lua.table_from(functions)


@pytest.fixture
def script(address, tmp_path):
    lupa = pytest.importorskip("lupa.lua54")

    def call(*answers, at=address):
        boxes, inserted = [], []
        lua = lupa.LuaRuntime(unpack_returned_tuples=True)
        reaper(lua, tmp_path, answers, boxes, inserted)
        lua.execute(SCRIPT.read_text(encoding="utf-8").replace("http://127.0.0.1:8765", at))
        return boxes, inserted

    return call


@needs_curl
def test_the_reascript_puts_a_sound_at_the_cursor(script, tmp_path):
    marks = 'a "dog"\\, $(touch here); `x` \t %s'
    for answers in ((marks, "0.3", "7"), ("rain", "", "")):
        boxes, [(path, mode)] = script(*answers)
        assert not boxes and mode == 0 and Path(path).parent == tmp_path
        assert soundfile.info(path).frames == (4800 if answers[1] else 10240)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".wav", ".wav"]


@needs_curl
def test_the_reascript_says_what_is_wrong(script, tmp_path):
    for answers, sentence in (
        (("rain", "long", ""), "seconds is long; it must be a number"),
        (("rain", "999", ""), "a clip would have 999 s; 60 s is the limit"),
        (("", "", ""), "prompt is empty"),
    ):
        boxes, inserted = script(*answers)
        assert len(boxes) == 1 and sentence in boxes[0] and not inserted
    boxes, inserted = script("rain", "", "", at="http://127.0.0.1:9")
    assert "start it with: soundctm serve" in boxes[0] and not inserted
    assert not list(tmp_path.iterdir())
