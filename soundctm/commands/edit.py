"""`soundctm edit`: an existing sound, and what shall become of it.

    soundctm edit dog.wav "a dog barking" --strength 0.2 -o another.wav
    soundctm edit dog.wav "a dog barking" --inpaint 1.0-1.6 -o repaired.wav

It is `soundctm generate` with the sound in front; docs/editing.md shows what each option does.
"""

from __future__ import annotations

from collections.abc import Sequence

from soundctm.command import exit_code
from soundctm.commands.generate import add_output, make
from soundctm.errors import UserError
from soundctm.inference.run import options_parser

EXAMPLES = """
examples:
  %(prog)s dog.wav "a dog barking" --strength 0.2 -o another.wav
  %(prog)s dog.wav "a dog barking" --inpaint 1.0-1.6 -o repaired.wav
  %(prog)s rain.wav "rain" --extend_after 5 -o longer.wav
  %(prog)s rain.wav "rain" --loop -o loop.wav
"""
EDITS = ("strength", "inpaint", "extend_before", "extend_after", "bands", "loop")


def main(arguments: Sequence[str], program: str = "soundctm edit") -> int:
    """Make what the command line asks for. The exit code is that of `soundctm.command.exit_code`."""
    parser = options_parser(program, "Vary, repair, extend or loop a sound.")
    parser.add_argument("sound", metavar="SOUND", help="the file to edit; the same as --init_audio")
    parser.add_argument("captions", nargs="+", metavar="CAPTION", help="what shall be heard")
    add_output(parser)
    parser.epilog = EXAMPLES

    def act() -> None:
        args = parser.parse_args(arguments)
        if not any(name in vars(args) for name in EDITS):
            raise UserError(f"nothing to do with {args.sound}: give one of --{', --'.join(EDITS)}")
        args.init_audio = args.sound
        make(args)

    return exit_code(act)
