"""The command `soundctm`: `soundctm COMMAND ...`, thin over the functions that the scripts of the repository call.

A command is one line in COMMANDS: a function (arguments, program) -> exit code, imported when it is called, so that
the help comes at once. Of options, `--num-steps` is the same as `--num_steps`.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Sequence
from typing import NamedTuple

import soundctm
from soundctm.errors import quoted

WRONG = 2


class Command(NamedTuple):
    """One of the commands: where its function is, and a line of help."""

    module: str
    what: str
    function: str = "main"


COMMANDS = {
    "generate": Command("soundctm.commands.generate", "sounds from captions: a file, or a folder of wavs"),
    "edit": Command("soundctm.commands.edit", "an existing sound varied, repaired, extended, looped"),
    "serve": Command("soundctm.commands.serve", "a model over HTTP: sounds, edits, jobs with progress"),
    "studio": Command("soundctm.studio.run", "a page in the browser: drafts, choosing, editing, history"),
    "train": Command("soundctm.training.run", "the parts of the model: codec, teacher, student", "command"),
    "evaluate": Command("soundctm.evaluation.folders.run", "scores of generated sounds against real ones"),
    "convert": Command("soundctm.checkpoints.convert", "official checkpoints into a folder, and back"),
    "info": Command("soundctm.commands.info", "versions, devices, number formats, models and their licences"),
}


def main(arguments: Sequence[str] | None = None, program: str = "soundctm") -> int:
    """Run `soundctm ARGUMENTS`; returns the exit code: that of the command, 2 for one that there is not."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(_help(program))
        return 0
    if name in ("-V", "--version"):
        print(f"soundctm {soundctm.__version__}")
        return 0
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else f"they are {', '.join(COMMANDS)}"
        print(f"error: soundctm has no command {quoted(name)}; {hint}", file=sys.stderr)
        return WRONG
    command = COMMANDS[name]
    act = getattr(importlib.import_module(command.module), command.function)
    return act([_underscored(word) for word in rest], f"{program} {name}")


def _underscored(word: str) -> str:
    """An option's name as the options spell it."""
    found = re.match(r"--[a-z0-9_]+(-[a-z0-9_]+)+(?==|$)", word)
    return word if found is None else "--" + found[0][2:].replace("-", "_") + word[found.end() :]


def _help(program: str) -> str:
    lines = "\n".join(f"  {name:10}{command.what}" for name, command in COMMANDS.items())
    return (
        f"usage: {program} COMMAND ...\n\n{soundctm.__doc__.splitlines()[0]}\n\n{lines}\n\n"
        '  soundctm generate "a dog barking" -o dog.wav\n\n`soundctm COMMAND --help` lists the options of a command.'
    )
