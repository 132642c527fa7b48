"""`python -m soundctm.data.bundle make [options]` writes a bundle; `show FILE` says what is in one."""

from __future__ import annotations

import json
import logging
import sys

from soundctm.command import Parser, exit_code
from soundctm.config import add_arguments, config_from_args


def main(arguments: list[str]) -> int:
    """Parse, build, call; 2 when something given is wrong."""
    parser = Parser(prog="python -m soundctm.data.bundle", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="say what is in a bundle", allow_abbrev=False)
    show.add_argument("file")
    make = commands.add_parser("make", help="write a bundle", allow_abbrev=False)
    if arguments[:1] == ["make"]:
        from soundctm.data.bundle.making import BundleConfig, make_bundle  # these need the sound libraries

        add_arguments(make, BundleConfig)
        given = parser.parse_args(arguments)
        return exit_code(lambda: make_bundle(config_from_args(BundleConfig, given)))
    given = parser.parse_args(arguments)
    return exit_code(lambda: print(json.dumps(summary(given.file), indent=2)))


def summary(path: str) -> dict:
    """What a bundle says of itself, without its captions."""
    from soundctm.data.bundle.reading import read_bundle

    bundle = read_bundle(path)
    lists = ("captions", "states", "lengths")
    counts = {"items": len(bundle.train), "held_out": len(bundle.held_out), "captions": len(bundle.header["captions"])}
    return counts | {name: value for name, value in bundle.header.items() if name not in lists}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    sys.exit(main(sys.argv[1:]))
