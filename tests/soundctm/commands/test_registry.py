"""The command `soundctm`: which commands there are, that their help comes at once, and what wrong ones say."""

import importlib
import subprocess
import sys

import pytest
from script_runs import ROOT

import soundctm
from soundctm.commands import COMMANDS, main


def test_every_command_has_a_function_and_a_help(capsys):
    assert {"generate", "edit", "train", "evaluate", "convert", "info"} <= set(COMMANDS)
    for name, command in COMMANDS.items():
        assert callable(getattr(importlib.import_module(command.module), command.function))
        try:
            assert main([name, "--help"]) == 0
        except SystemExit as end:
            assert end.code == 0
        shown = capsys.readouterr().out
        assert f"soundctm {name}" in shown and ".py" not in shown.split("\n")[0], shown[:300]


def test_the_help_names_every_command(capsys):
    for words in ([], ["--help"], ["-h"], ["help"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown and command.what in shown for name, command in COMMANDS.items())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"soundctm {soundctm.__version__}\n"


@pytest.mark.parametrize(("word", "says"), [("genrate", "did you mean generate?"), ("xyz", "they are generate, edit")])
def test_what_is_no_command_is_one_line(word, says, capsys):
    assert main([word]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error and error.count("\n") == 1


def test_options_may_be_written_with_dashes(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "rain", "--num-steps=0", "-o", "x.wav"]) == 2
    assert "num_steps is 0" in capsys.readouterr().err
    assert main(["generate", "two-headed dog", "--test-file", "no-such-file.csv"]) == 2
    assert "no-such-file.csv" in capsys.readouterr().err


def test_help_and_import_need_no_library():
    code = (
        "import sys, soundctm, soundctm.commands\nsoundctm.commands.main(['--help'])\n"
        "print([name for name in ('torch', 'numpy', 'diffusers', 'transformers', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_names_of_the_package():
    from soundctm.pipeline import SoundCTMPipeline

    assert soundctm.SoundCTMPipeline is SoundCTMPipeline and "SoundCTMPipeline" in dir(soundctm)
    with pytest.raises(AttributeError, match="no attribute 'Pipeline'"):
        _ = soundctm.Pipeline


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "soundctm", "infoo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean info?" in done.stderr
