"""What every command line here has: quiet libraries, one line for what is wrong, an exit code."""

from __future__ import annotations

import argparse
import difflib
import io
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from soundctm.config import add_arguments, config_from_args
from soundctm.errors import UserError

T = TypeVar("T")
NOISY = ("httpx", "huggingface_hub", "transformers", "diffusers", "matplotlib")
WRONG, INTERRUPTED = 2, 130
UNKNOWN = "unrecognized arguments: "  # argparse's
ALIKE = 0.8  # of two names, for one to be what was meant


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, with the option that was probably meant, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        if message.startswith(UNKNOWN):
            message = message.removeprefix(UNKNOWN)
            given = next((word.split("=")[0] for word in message.split() if word.startswith("--")), None)
            message = f"nothing takes {message}" if given is None else f"there is no option {given}{self._meant(given)}"
        self.exit(WRONG, f"error: {UserError(message)}; `{self.prog} --help` lists the options\n")

    def _meant(self, given: str) -> str:
        """Of the spellings of an option only the first is offered: further ones are kept for old commands."""
        spellings = {name: action.option_strings[0] for action in self._actions for name in action.option_strings}
        close = difflib.get_close_matches(given, spellings, 1, ALIKE)
        return f" (did you mean {spellings[close[0]]}?)" if close else ""


def exit_code(act: Callable[[], object]) -> int:
    """Run `act` with messages shown; 2 when something given is wrong (UserError), 130 when interrupted, else 0."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print_any_name()
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        act()
    except (UserError, OSError) as error:  # OSError: a name that no disk takes, a disk that fails
        print(f"error: {sentence(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


def sentence(error: UserError | OSError) -> str:
    """What is wrong, on one line."""
    if isinstance(error, UserError):
        return str(error)
    return str(UserError(f"{error.filename or 'the system'}: {error.strerror or error}"))


def print_any_name() -> None:
    """From now on, characters of a file's name that the terminal cannot show are printed as `\\xe9`; no error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def started_as(script: str, module: str) -> str:
    """What the user called, of the script at the root and the module that it runs, which an installed package has."""
    return script if Path(sys.argv[0]).name == script else f"python -m {module}"


def run_module(
    module: str, text: str, options: type[T], act: Callable[[T], object], arguments: Sequence[str] | None
) -> int:
    """`act` on the options (a dataclass) of `python -m module ...`; the result is that of `exit_code`."""
    parser = Parser(
        prog=f"python -m {module}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser, options)
    return exit_code(lambda: act(config_from_args(options, parser.parse_args(arguments))))
