"""A run of `ctm_inference.py` from its options to its last file: check everything, load the model, generate."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundctm.command import Parser, exit_code, started_as
from soundctm.config import add_arguments, config_from_args, save_config
from soundctm.errors import UserError
from soundctm.files import ensure_writable, sweep
from soundctm.files.locks import held
from soundctm.inference.again import chosen_entries, shared_options
from soundctm.inference.manifest import MANIFEST, Manifest
from soundctm.inference.model import checkpoint_name, load_pipeline
from soundctm.inference.options import InferenceOptions
from soundctm.inference.output import to_make
from soundctm.inference.plan import Plan, completed, plan
from soundctm.inference.workers import Workers
from soundctm.places import MODELS

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
NAMED = 3  # clips in a message
Load = Callable[[InferenceOptions, str], "SoundCTMPipeline"]


def parse_options(arguments: Sequence[str]) -> InferenceOptions:
    """The options of a command line. Raises UserError; exits on --help and on unknown flags, as argparse does."""
    parser = options_parser(started_as("ctm_inference.py", "soundctm.inference.run"))
    return options_of(parser.parse_args(arguments))


def options_parser(program: str, description: str = "Make sounds from captions.") -> argparse.ArgumentParser:
    """A parser of the options, of what the user called."""
    parser = Parser(prog=program, description=description, allow_abbrev=False, conflict_handler="resolve")
    add_arguments(parser, InferenceOptions)
    # A caption contains spaces and commas, and there may be several: not a list in one value.
    parser.add_argument(
        "--prompt", action="append", default=argparse.SUPPRESS, metavar="TEXT", help="a caption; repeatable"
    )
    parser.add_argument(
        "--only", action="append", default=argparse.SUPPRESS, metavar="NAME.wav", help="of a --manifest; repeatable"
    )
    return parser


def options_of(args: argparse.Namespace) -> InferenceOptions:
    """The options that were parsed, completed by those of a --manifest. Raises UserError."""
    given = vars(args)
    if given.get("manifest"):
        found = shared_options(chosen_entries(given["manifest"], given.get("only", ())), given)
        vars(args).update(found)
    return config_from_args(InferenceOptions, args)


def run(options: InferenceOptions, load: Load | None = None) -> Path:
    """Make what `options` ask for; returns the output folder. Raises UserError, before a model is loaded if it can.

    `load(options, device)` gives the pipeline, and is called only if a clip is missing; default `load_pipeline`.
    """
    planned = plan(options)
    folder = Path(options.output_dir)
    ensure_writable(folder)
    workers = Workers.of_environment()
    with held(folder, "generation", holds=workers.is_main):
        _make(planned, load, workers)
    return folder


def _make(planned: Plan, load: Load | None, workers: Workers) -> None:
    """Make those of the planned clips that are not there, in the output folder that is held."""
    options, wanted = planned.options, planned.wanted
    folder = Path(options.output_dir)
    manifest = Manifest(folder)
    missing = to_make(wanted, completed(manifest.read(), planned.defaults), folder, options.overwrite)

    if workers.is_main:
        for remark in planned.remarks:
            log.warning("note: %s", remark)
    workers.wait()  # all have looked at the folder before one changes it
    if workers.is_main:
        for place in {folder, *((folder / entry.file).parent for entry in wanted)}:  # names may have folders
            sweep(place)
        manifest.prepare()
        save_config(options, folder / CONFIG)
    workers.wait()

    if workers.is_main and len(missing) < len(wanted):
        log.info("%d of %d clips are there already", len(wanted) - len(missing), len(wanted))
    mine, silent = workers.share(missing), []
    if mine:
        if workers.is_main:
            log.info("loading %s", wanted[0].checkpoint)  # before the libraries, which take seconds
        from soundctm.inference.generate import generate

        pipeline = (load or load_pipeline)(options, workers.device(options.device))
        silent = generate(pipeline, mine, options, planned.settings, manifest, show_progress=workers.is_main)
    if options.save_spectrograms:
        from soundctm.inference.generate import draw_missing

        draw_missing(folder, workers.share(wanted))
    workers.wait()
    if workers.is_main:
        manifest.prepare()  # one line per clip
    if silent:
        raise UserError(
            f"{len(silent)} of {len(mine)} clips were not written: {'; '.join(silent[:NAMED])}"
            f"{'; ...' if len(silent) > NAMED else ''}. Another --seed or more --num_steps may help; --keep_silent "
            "writes them"
        )
    if workers.is_main:
        log.info("%d clips in %s, described in %s", len(wanted), folder, folder / MANIFEST)


def stay_offline(options: InferenceOptions) -> None:
    """Ask no hub for anything where the model is one that came with the code: all of it is on disk."""
    if not options.official and checkpoint_name(options) in MODELS:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def main(arguments: Sequence[str]) -> int:
    """Make what the command line asks for. The exit code is that of `soundctm.command.exit_code`."""

    def act() -> None:
        options = parse_options(arguments)
        stay_offline(options)
        run(options)

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
