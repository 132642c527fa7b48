"""A run of `ctm_inference.py` from its options to its last file: check everything, load the model, generate."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundctm.command import exit_code, started_as
from soundctm.config import add_arguments, config_from_args, save_config
from soundctm.defaults import NO_OMEGA, Defaults, Settings, settle
from soundctm.errors import UserError
from soundctm.files import sweep
from soundctm.files.locks import held
from soundctm.inference.again import chosen_entries, clips_of, shared_options
from soundctm.inference.clips import Clip, plan_clips
from soundctm.inference.manifest import MANIFEST, Entry, Manifest
from soundctm.inference.model import checkpoint_defaults, checkpoint_files, fingerprint, load_pipeline
from soundctm.inference.options import InferenceOptions
from soundctm.inference.output import ensure_writable, to_make
from soundctm.inference.prompts import read_prompts
from soundctm.inference.refining import refined
from soundctm.inference.steering import check_control, sound_seconds, steering_cell
from soundctm.inference.workers import Workers

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
NAMED = 3  # clips in a message
Load = Callable[[InferenceOptions, str], "SoundCTMPipeline"]


def parse_options(arguments: Sequence[str]) -> InferenceOptions:
    """The options of a command line. Raises UserError; exits on --help and on unknown flags, as argparse does."""
    parser = argparse.ArgumentParser(
        prog=started_as("ctm_inference.py", "soundctm.inference.run"),
        description="Make sounds from captions.",
        allow_abbrev=False,
        conflict_handler="resolve",
    )
    add_arguments(parser, InferenceOptions)
    # A caption contains spaces and commas, and there may be several: not a list in one value.
    parser.add_argument(
        "--prompt", action="append", default=argparse.SUPPRESS, metavar="TEXT", help="a caption; repeatable"
    )
    parser.add_argument(
        "--only", action="append", default=argparse.SUPPRESS, metavar="NAME.wav", help="of a --manifest; repeatable"
    )
    args = parser.parse_args(arguments)
    given = vars(args)
    if given.get("manifest"):
        found = shared_options(chosen_entries(given["manifest"], given.get("only", ())), given)
        vars(args).update(found)
    return config_from_args(InferenceOptions, args)


def run(options: InferenceOptions, load: Load | None = None) -> Path:
    """Make what `options` ask for; returns the output folder. Raises UserError, before a model is loaded if it can.

    `load(options, device)` gives the pipeline, and is called only if a clip is missing; default `load_pipeline`.
    """
    earlier = chosen_entries(options.manifest, options.only) if options.manifest else []
    if options.refine is not None:
        options, clips = refined(options)
    elif earlier:
        clips = clips_of(earlier)
    else:
        prompts = read_prompts(options.test_file, options.prompt, options.prefix)
        # of ranked candidates the best alone is a clip
        clips = plan_clips(prompts, options.seed, 1 if options.rank == "best" else options.num_samples)
    name, files = checkpoint_files(options)
    defaults = checkpoint_defaults(options)
    check_control(options, clip_seconds(options, defaults))
    settings, remarks = settle(
        defaults,
        options.weights,
        steps=options.num_steps,
        sampler=options.sampler,
        omega=options.omega,
        nu=options.nu,
        gamma=options.sampling_gamma,
    )
    check_negative(options, settings)
    wanted = entries_of(clips, options, settings, defaults, name, fingerprint(files))

    if any(entry.fingerprint != wanted[0].fingerprint for entry in earlier):
        remarks.append(f"{name} is not what made the clips of {options.manifest}: they will sound different")

    folder = Path(options.output_dir)
    ensure_writable(folder)
    workers = Workers.of_environment()
    with held(folder, "generation", holds=workers.is_main):
        _make(options, load, wanted, settings, defaults, [*options.unused(), *remarks], workers)
    return folder


def _make(
    options: InferenceOptions,
    load: Load | None,
    wanted: Sequence[Entry],
    settings: Settings,
    defaults: Defaults,
    remarks: Sequence[str],
    workers: Workers,
) -> None:
    """Make those of the `wanted` clips that are not there, in the output folder that is held."""
    folder = Path(options.output_dir)
    manifest = Manifest(folder)
    missing = to_make(wanted, completed(manifest.read(), defaults), folder, options.overwrite)

    if workers.is_main:
        for remark in remarks:
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
        silent = generate(pipeline, mine, options, settings, manifest, show_progress=workers.is_main)
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


def entries_of(
    clips: Sequence[Clip],
    options: InferenceOptions,
    settings: Settings,
    defaults: Defaults,
    checkpoint: str,
    digest: str,
) -> list[Entry]:
    """The manifest's entries of the clips; a setting that has no effect is left empty, so that it does not matter."""
    return [
        Entry(
            file=f"{clip.name}.wav",
            caption=clip.caption,
            seed=str(clip.seed),
            sampler=settings.sampler,
            steps=str(settings.steps),
            omega=NO_OMEGA if settings.omega is None else f"{settings.omega:g}",
            nu=_cell(settings.nu),
            gamma=_cell(settings.gamma),
            weights=options.weights,
            checkpoint=checkpoint,
            fingerprint=digest or checkpoint,
            dtype=options.dtype,
            sampling_rate=_cell(options.sampling_rate or defaults.sampling_rate),
            target_length="" if options.init_audio else _cell(options.target_length or defaults.seconds),
            steering=steering_cell(options),
        )
        for clip in clips
    ]


def clip_seconds(options: InferenceOptions, defaults: Defaults) -> float | None:
    """Length of the clips to be made; None where only the model knows it."""
    if options.init_audio is not None:
        return sound_seconds(options) + options.extend_before + options.extend_after
    return options.target_length or defaults.seconds


def check_negative(options: InferenceOptions, settings: Settings) -> None:
    """Raises UserError for a negative prompt that would do nothing."""
    if options.negative_prompt is not None and settings.nu == 1.0:
        raise UserError("--negative_prompt has no effect at nu 1; give --nu above 1, for example 1.5")


def completed(entries: dict[str, Entry], defaults: Defaults) -> dict[str, Entry]:
    """Entries of an older manifest, whose empty rate and length are the model's own."""
    own = {"sampling_rate": _cell(defaults.sampling_rate), "target_length": _cell(defaults.seconds)}
    return {
        name: dataclasses.replace(entry, **{k: v for k, v in own.items() if not getattr(entry, k)})
        for name, entry in entries.items()
    }


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def main(arguments: Sequence[str]) -> int:
    """Make what the command line asks for. The exit code is that of `soundctm.command.exit_code`."""

    def act() -> None:
        options = parse_options(arguments)
        if not options.official and options.checkpoint is None:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")  # all of the small model is on disk
        run(options)

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
