"""The command line of a module here: options from a dataclass, one line for what is wrong, an exit code."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from soundctm.config import add_arguments, config_from_args
from soundctm.errors import UserError

T = TypeVar("T")


def run_command(
    module: str, text: str, options: type[T], act: Callable[[T], object], arguments: Sequence[str] | None
) -> int:
    """`act` on the options of a command line; 2 when something given is wrong, 130 when interrupted, else 0."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser, options)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("httpx", "huggingface_hub", "transformers", "diffusers", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        act(config_from_args(options, parser.parse_args(arguments)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
