"""`soundctm generate`: captions to a sound file, or to a folder as `ctm_inference.py` fills it.

    soundctm generate "a dog barking" -o dog.wav
    soundctm generate "a dog barking" "rain" --num_samples 3 -o outputs/mine

A file holds one clip, the same that a run into a folder makes of that caption and seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from soundctm.command import exit_code
from soundctm.errors import UserError
from soundctm.files import ensure_writable
from soundctm.files.sounds import FORMATS, SUBTYPES, check_sound_file, write_sound
from soundctm.inference.clips import safe_stem
from soundctm.inference.model import load_pipeline
from soundctm.inference.options import InferenceOptions
from soundctm.inference.plan import plan
from soundctm.inference.run import options_of, options_parser, run, stay_offline

log = logging.getLogger(__name__)

EXAMPLES = """
examples:
  %(prog)s "a dog barking" -o dog.wav
  %(prog)s "a dog barking" "rain on a roof" --num_samples 3 -o outputs/mine
  %(prog)s --test_file captions.csv --batch_size 8 -o outputs/all
"""


def main(arguments: Sequence[str], program: str = "soundctm generate") -> int:
    """Make what the command line asks for. The exit code is that of `soundctm.command.exit_code`."""
    parser = options_parser(program)
    parser.add_argument("captions", nargs="*", metavar="CAPTION", help="what shall be heard; the same as --prompt")
    add_output(parser)
    return exit_code(lambda: make(parser.parse_args(arguments)))


def add_output(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of where clips go."""
    endings = ", ".join(FORMATS)
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "-o",
        "--output",
        default=None,
        metavar="FILE|FOLDER",
        help=f"a file ({endings}) for one clip, or a folder; default: a wav named after a single caption, else outputs",
    )
    parser.add_argument("--subtype", default=None, choices=SUBTYPES, help="bits of a sample of a file (default: 16)")


def make(args: argparse.Namespace) -> None:
    """Make the clips of a parsed command line. Raises UserError."""
    output, subtype, captions = args.output, args.subtype, args.captions
    vars(args)["prompt"] = [*vars(args).get("prompt", ()), *captions]
    if not args.prompt:
        del args.prompt
    if output is not None and "output_dir" in vars(args):
        raise UserError("--output and --output_dir name two places; give one of them")
    options = options_of(args)
    stay_offline(options)
    if output is None and "output_dir" not in vars(args) and _is_one(options):
        output = f"{safe_stem(options.prompt[0], is_file_name=False)}.wav"
    if output is not None and Path(output).suffix.lower() in FORMATS and not Path(output).is_dir():
        make_file(options, Path(output), subtype)
        return
    if subtype is not None:
        raise UserError("--subtype is for a file, such as -o dog.wav; the wavs of a folder are as the model's own")
    run(options if output is None else dataclasses.replace(options, output_dir=output))


def make_file(options: InferenceOptions, path: Path, subtype: str | None = None) -> None:
    """Write the one clip that `options` ask for to `path`. Raises UserError, before a model is loaded if it can."""
    check_sound_file(path, subtype)
    if path.exists() and not options.overwrite:
        raise UserError(f"{path} is there already; --overwrite replaces it")
    planned = plan(options)
    if len(planned.wanted) != 1:
        raise UserError(f"{path} is one file, and {len(planned.wanted)} clips are asked for; give a folder with -o")
    ensure_writable(path.absolute().parent)
    for remark in planned.remarks:
        log.warning("note: %s", remark)
    log.info("loading %s", planned.wanted[0].checkpoint)  # before the libraries, which take seconds
    from soundctm.devices import usable_device
    from soundctm.inference.generate import make as make_clips

    pipeline = load_pipeline(planned.options, usable_device(planned.options.device))
    made = next(make_clips(pipeline, planned.wanted, planned.options, planned.settings))
    if made.silence and not options.keep_silent:
        raise UserError(f"not written: {made.silence}. Another --seed may help; --keep_silent writes it")
    if options.save_spectrograms:
        from soundctm.inference.spectrogram import save_spectrogram

        save_spectrogram(path.with_suffix(".png"), made.audio, made.rate, made.entry.caption)
    own = made.subtype if made.subtype in FORMATS[path.suffix.lower()] else None
    write_sound(path, made.audio, made.rate, subtype or own)
    log.info("%s: %s s of %r, seed %s", path, made.entry.seconds, made.entry.caption, options.seed)


def _is_one(options: InferenceOptions) -> bool:
    several = options.num_samples > 1 and options.rank != "best"
    return len(options.prompt) == 1 and options.test_file is None and not several
