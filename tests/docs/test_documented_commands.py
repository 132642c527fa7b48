"""Every command and code block of README.md and docs: run as printed, or, where it takes hours or a network, read.

A command that is read must be made of programs, modules, files and options that exist.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import runpy
import shlex
import subprocess
import sys
import typing
import warnings
from dataclasses import fields

import pytest
from printed import PAGES, ROOT, commands, printed

# What is no program of ours, and what is named within a sentence only.
FOREIGN = ("hf", "source", "cd", "pip", "uv", "apt-get", "git", "cat", "mkdir", "docker")
ALL = [(page, c) for page, c in printed() if re.search(r"\.py|\.sh| -m \S|^soundctm ", c) or c.split()[0] in FOREIGN]


def options_of(program: list[str]) -> set[str]:
    """The options that a program names in its help, which is asked in this process: a start would take seconds."""
    shown, argv = io.StringIO(), sys.argv
    inner = program[2:] if program[0] == "-m" else program[1:]
    sys.argv = [program[0], *inner, "--help"]
    try:
        with contextlib.redirect_stdout(shown), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the module was imported before
            if program[0] == "-m":
                runpy.run_module(program[1], run_name="__main__")
            else:
                runpy.run_path(str(ROOT / program[0]), run_name="__main__")
    except SystemExit as end:
        assert not end.code, f"{' '.join(program)} --help ended with {end.code}"
    finally:
        sys.argv = argv
    return set(re.findall(r"--[\w-]+", shown.getvalue()))


@pytest.fixture(scope="session")
def known():
    seen: dict[tuple[str, ...], set[str]] = {}

    def ask(program: list[str]) -> set[str]:
        key = tuple(program)
        if key not in seen:
            seen[key] = options_of(program)
        return seen[key]

    return ask


def program_of(words: list[str]) -> tuple[list[str], list[str]]:
    """What runs (arguments of python) and its arguments, of one of our commands."""
    if words[0] == "accelerate":
        start = next(i for i, word in enumerate(words) if word.endswith(".py"))
        words = ["python", *words[start:]]
    if words[0] == "soundctm":
        words = ["python", "-m", *words]
    if words[0] == "bash":
        words = ["python", words[1].removesuffix(".sh") + ".py", *words[2:]]
    if words[1] == "-m":
        deeper = words[3:4] if len(words) > 3 and words[3][0] != "-" else []  # a command's part, or a file
        return ["-m", words[2], *deeper], words[3 + len(deeper) :]
    part = words[2:3] if words[1] == "ctm_train.py" and len(words) > 2 and words[2][0] != "-" else []
    if words[1] == "ctm_train.py" and not part:
        part = ["distill"]
        return [words[1], *part], words[2:]
    return [words[1], *part], words[2 + len(part) :]


@pytest.mark.parametrize("page, command", ALL)
def test_a_printed_command_is_made_of_what_is_there(page, command, known):
    words = [word for word in shlex.split(command) if word != "..."]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[0] in FOREIGN:
        assert words[:2] != ["source", ""] and len(words) > 1
        return
    if words[:2] == ["bash", "scripts/train_from_bundle.sh"]:  # PART MINUTES FOLDER, and what goes to ctm_train.py
        assert (ROOT / words[1]).is_file()
        words = ["python", "ctm_train.py", words[2], *words[5:]]
    if words[0] == "bash":
        assert (ROOT / words[1]).is_file(), f"{page}: no script {words[1]}"
        if words[1] == "ctm_train.sh" and words[2:3] in (["all"], ["dit"], ["corpus"], []):
            return
        script = ROOT / words[1]
        if not script.with_suffix(".py").is_file():  # it passes nothing on to a program
            text = script.read_text(encoding="utf-8")
            assert all(word in text for word in words[2:] if word.startswith("--")), f"{page}: {command}"
            return
    program, arguments = program_of(words)
    if program[0] == "-m":
        assert importlib.util.find_spec(program[1]) is not None, f"{page}: no module {program[1]}"
    elif program[0].endswith(".py"):
        assert (ROOT / program[0]).is_file(), f"{page}: no script {program[0]}"
    if program[0] == "-m" and program[1].split(".")[0] not in ("soundctm", "benchmarks"):
        return  # a program of others, that may end the process
    flags = {word.split("=")[0] for word in arguments if word.startswith("--")} - {"--help"}
    if program[:2] == ["-m", "soundctm"]:
        flags = {f"--{flag[2:].replace('-', '_')}" for flag in flags}
    unknown = flags - (known(program))
    assert not unknown, f"{page}: {' '.join(program)} has no {', '.join(sorted(unknown))}"
    for word in arguments:  # files of the repository that are named
        if re.match(r"(configs|data|ckpt/mini)/", word) and "corpus/" not in word and word != "data/corpus":
            assert (ROOT / word).exists(), f"{page}: no {word}"


def python_blocks() -> list[tuple[str, str]]:
    return [
        (page.relative_to(ROOT).as_posix(), block)
        for page in PAGES
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    ]


@pytest.mark.parametrize("page, block", python_blocks())
def test_a_printed_block_of_python_imports_what_is_there(page, block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names), f"{page}: {node.module}"


def test_the_first_block_of_python_runs_as_printed(monkeypatch):
    monkeypatch.chdir(ROOT)
    block = next(block for page, block in python_blocks() if page == "README.md")
    names: dict[str, typing.Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    out = names["out"]
    assert out.audios.shape == (1, 40960) and out.sampling_rate == 16000 and abs(out.audios).max() > 0.01


@pytest.mark.slow
def test_the_commands_that_make_sounds_run_as_printed_from_a_fresh_clone(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(clone)], check=True)
    listed = [
        c for c in commands(clone / "README.md") if c.startswith("python ctm_inference.py") and "ckpt/full" not in c
    ]
    listed = [c for c in listed if "--help" not in c and not re.search(r" (N|DIR)\b", c)]  # N, DIR: for the reader
    assert len(listed) >= 3
    for command in listed:
        words = shlex.split(command)
        done = subprocess.run([sys.executable, *words[1:]], cwd=clone, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert list((clone / words[words.index("--output_dir") + 1]).glob("*.wav"))


def test_documented_options_have_one_table_of_defaults():
    from soundctm.defaults import Defaults
    from soundctm.inference.options import InferenceOptions

    own = {field.name for field in fields(Defaults)}
    assert {"steps", "sampler", "omega", "nu", "gamma", "omega_range", "seconds"} <= own
    for name in ("num_steps", "sampler", "omega", "nu", "sampling_gamma"):
        assert getattr(InferenceOptions, name) is None, f"{name} has a default of its own"
