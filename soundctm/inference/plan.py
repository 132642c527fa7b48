"""What a run makes, checked before a model is loaded: the entries of its clips, the settings, what to be wary of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from soundctm.defaults import NO_OMEGA, Defaults, Settings, settle
from soundctm.errors import UserError
from soundctm.inference.again import chosen_entries, clips_of
from soundctm.inference.clips import Clip, plan_clips
from soundctm.inference.manifest import Entry
from soundctm.inference.model import checkpoint_defaults, checkpoint_files, fingerprint
from soundctm.inference.options import InferenceOptions
from soundctm.inference.prompts import read_prompts
from soundctm.inference.refining import refined
from soundctm.inference.steering import check_control, sound_seconds, steering_cell


@dataclass(frozen=True)
class Plan:
    """A run that has been checked."""

    options: InferenceOptions  # with those that a refined clip brings along
    wanted: list[Entry]
    settings: Settings
    defaults: Defaults  # of the checkpoint
    remarks: list[str]  # a sentence for each value to be wary of


def plan(options: InferenceOptions) -> Plan:
    """The clips that `options` ask for and how they are made. Raises UserError."""
    if options.dtype == "auto":
        options = dataclasses.replace(options, dtype=_number_format(options.device))
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
    return Plan(options, wanted, settings, defaults, [*options.unused(), *remarks])


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


def _number_format(device: str) -> str:
    """What "auto" means here, for the manifest to tell."""
    from soundctm.devices import usable_device
    from soundctm.precision import number_format

    return str(number_format("auto", usable_device(device))).removeprefix("torch.")


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
