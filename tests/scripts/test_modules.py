"""Every module run with `python -m`: a command with a help, or one sentence that it is none and exit code 2."""

import re
import runpy
import subprocess
import sys
import warnings

import pytest
from script_runs import ROOT

from soundctm.audioldm.modules import refuse_to_run
from soundctm.modules import refuse_what_is_no_command, started_module


def all_modules():
    """{name: what is executed, None for a package without __main__}; __main__ is run by its package's name."""
    found = {}
    for package in ("soundctm", "audioldm"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.parent.name == "audioldm" and package == "soundctm":  # stands for the folder at the top
                continue
            if path.name == "__init__.py":
                main = path.with_name("__main__.py")
                found[name.removesuffix(".__init__")] = main if main.exists() else None
            elif path.name != "__main__.py":
                found[name] = path
    return found


MODULES = all_modules()
COMMANDS = [
    name for name, path in MODULES.items() if path and '\nif __name__ == "__main__":\n' in path.read_text("utf-8")
]
OTHERS = [name for name in MODULES if name not in COMMANDS]


@pytest.fixture
def started(monkeypatch):
    """As if `python WORDS` were importing the packages: what it says and its exit code, None when it goes on."""

    def start(*words):
        monkeypatch.setattr(sys, "argv", ["-m", "--prompt", "x"])
        monkeypatch.setattr(sys, "orig_argv", ["python", *words, "--prompt", "x"])
        try:
            refuse_what_is_no_command("soundctm")
            refuse_to_run()
        except SystemExit as end:
            return end.code
        return None

    return start


def test_there_are_commands_and_others():
    assert {"soundctm.inference.run", "soundctm.data.bundle", "soundctm.checkpoints.convert"} <= set(COMMANDS)
    assert {"soundctm.places", "soundctm.inference", "soundctm.modules", "audioldm", "audioldm.mel"} <= set(OTHERS)


def test_what_is_no_command_says_so_in_one_sentence(started, capsys):
    for module in OTHERS:
        assert started("-m", module) == 2, module
        said = capsys.readouterr().err
        assert re.fullmatch(rf"error: {re.escape(module)} is no command; try python [^\n]+\n", said), said


def test_commands_and_the_modules_of_others_go_on(started, capsys):
    for module in [*COMMANDS, "pytest", "soundctm_tools.run", "soundctm.nothing_of_this_name", "my.audioldm.mel"]:
        assert started("-m", module) is None, module
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "words", [("-msoundctm.defaults",), ("-Bm", "soundctm.defaults"), ("-X", "dev", "-um", "soundctm.defaults")]
)
def test_however_python_is_told_to_run_a_module(started, words):
    assert started(*words) == 2


def test_an_import_ends_nothing(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "import soundctm.defaults"])
    assert started_module("soundctm") is None
    refuse_to_run()


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "soundctm.defaults"),
        ("-m", "soundctm.inference"),
        ("-m", "audioldm.codec"),
        ("-m", "soundctm.audioldm.mel"),
    ],
)
def test_a_real_start(words):
    done = subprocess.run(
        [sys.executable, *words, "--prompt", "x"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "is no command; try " in done.stderr, done


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_has_a_help(module, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the module was imported before
        with pytest.raises(SystemExit) as end:
            runpy.run_module(module, run_name="__main__", alter_sys=False)
        assert not end.value.code
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m {module}"), shown[:200]
