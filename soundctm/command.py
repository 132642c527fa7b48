"""What every command line here has: quiet libraries, one line for what is wrong, an exit code."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from soundctm.config import add_arguments, config_from_args
from soundctm.errors import UserError

T = TypeVar("T")
NOISY = ("httpx", "huggingface_hub", "transformers", "diffusers", "matplotlib")
WRONG, INTERRUPTED = 2, 130


def exit_code(act: Callable[[], object]) -> int:
    """Run `act` with messages shown; 2 when something given is wrong (UserError), 130 when interrupted, else 0."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print_any_name()
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        act()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    return 0


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
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser, options)
    return exit_code(lambda: act(config_from_args(options, parser.parse_args(arguments))))
