"""The options of `ctm_inference.py` that steer a clip: editing, control, candidates; and those that finish it.

They are checked before a model is loaded, and those that were given are a column of the manifest, as JSON, so that the
same command makes the same clip and `--refine` can take them up again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundctm.config import load_config, option
from soundctm.errors import UserError
from soundctm.files.reading import parse_json
from soundctm.inference.finishing import FinishingOptions, check_finishing

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMOutput, SoundCTMPipeline

MEASURES = ("intensity", "centroid", "onsets")
METHODS = ("noise", "network", "mean")
RANKS = ("all", "best")
SOUND, CANDIDATES = "init_audio_sha256", "num_samples"


@dataclass(frozen=True)
class SteeringOptions(FinishingOptions):
    """What steers the clips of a run, and how they are finished. Times are in seconds."""

    negative_prompt: str | None = option(None, "what to stay away from; needs --nu above 1, or --weights teacher")

    # an existing clip
    init_audio: str | None = option(None, "sound file to edit, see docs/editing.md", value="FILE")
    strength: float | None = option(None, "vary --init_audio: 0 is the clip, 1 is all new", value="0..1")
    inpaint: str | None = option(None, "regions of --init_audio to make anew", value="START-END,...")
    repaint: int = option(0, "do every step of --inpaint this many times, as RePaint does; 0 is one pass")
    extend_before: float = option(0.0, "seconds to make in front of --init_audio")
    extend_after: float = option(0.0, "seconds to make behind --init_audio")
    bands: str | None = option(None, "frequencies of --init_audio to make anew", value="LOW-HIGH,...")
    loop: bool = option(False, "the end runs into the beginning, of new clips or of --init_audio")
    seam: float = option(0.5, "seconds around the join of --init_audio that --loop makes anew")

    # two sounds in one
    blend_prompt: str | None = option(None, "a second caption", value="TEXT")
    blend_seed: int | None = option(None, "a second seed")
    blend_share: str = option("0.5", "share of the second, from 0 to 1; two of them for start and end", value="A[:B]")

    # control
    control: str | None = option(None, "what shall follow --curve", choices=MEASURES)
    curve: str | None = option(
        None, "of --control: TIME:VALUE points, rise, fall, swell, two-hits, or a CSV with time,value", value="CURVE"
    )
    control_method: str = option("mean", "how", choices=METHODS)
    control_iterations: int | None = option(None, "gradient steps", unset="the method's")
    control_strength: float | None = option(None, "length of a gradient step", unset="the method's")
    control_candidates: int = option(16, "noises that are tried at one step first; the nearest to --curve is taken")
    control_window: str = option("0:1", "guided steps, as shares of the way down from noise", value="FROM:TO")
    control_threshold: float = option(1.0, "error, in squared units, at which a clip is left alone")

    # candidates
    rank: str | None = option(
        None, "score the --num_samples candidates of a caption: all are kept, or the best", choices=RANKS
    )


def given(options: SteeringOptions) -> dict[str, Any]:
    """The steering options that are not at their defaults, and the hash of the sound that is edited."""
    values = {}
    for field in dataclasses.fields(SteeringOptions):
        value = getattr(options, field.name)
        if value != field.default:
            values[field.name] = value
    if options.rank == "best":
        values[CANDIDATES] = options.num_samples
    if options.init_audio:
        values[SOUND] = _digest(Path(options.init_audio))
    return values


def steering_cell(options: SteeringOptions) -> str:
    """`given` for the manifest; "" where nothing steers."""
    values = given(options)
    return json.dumps(values, sort_keys=True, ensure_ascii=False) if values else ""


def read_cell(text: str, where: str) -> dict[str, Any]:
    """The options in a manifest's cell. Raises UserError for other text, and where the sound is no longer the same."""
    values = parse_json(text, f"{where}: the column steering", kind=dict) if text else {}
    known = {field.name for field in dataclasses.fields(SteeringOptions)}
    if not set(values) <= known | {SOUND, CANDIDATES}:
        raise UserError(f"{where}: the column steering holds unknown options: {text[:60]!r}")
    checked = load_config(SteeringOptions, None, {name: values[name] for name in values if name in known})
    values |= {name: getattr(checked, name) for name in values if name in known}
    digest = values.pop(SOUND, None)
    if digest is not None:
        path = Path(str(values.get("init_audio", "")))
        if not path.is_file() or _digest(path) != digest:
            raise UserError(f"{where}: the clip was made from {path}, which is not there any more or has changed")
    return values


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:12]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def operations_of(options: SteeringOptions) -> list[str]:
    """Which edits of --init_audio are asked for."""
    asked = {
        "strength": options.strength is not None and options.inpaint is None and options.bands is None,
        "inpaint": options.inpaint is not None,
        "extend": bool(options.extend_before or options.extend_after),
        "bands": options.bands is not None,
        "loop": options.loop and options.init_audio is not None,
    }
    return [name for name, wanted in asked.items() if wanted]


def check_steering(options: SteeringOptions) -> None:
    """Raises UserError for values outside their ranges, contradictions, and sounds that cannot be read.

    Imports torch only if something steers.
    """
    if all(getattr(options, field.name) == field.default for field in dataclasses.fields(SteeringOptions)):
        return
    check_finishing(options)
    from soundctm.editing import parse_bands, parse_regions
    from soundctm.editing.clip import check_length, read_init
    from soundctm.editing.operations import check_extension, check_repeats, check_strength
    from soundctm.editing.regions import check_regions

    edits = operations_of(options)
    if options.strength is not None:
        check_strength(options.strength)
    check_extension(options.extend_before, options.extend_after)
    if options.init_audio is None and edits + (["strength"] if options.strength is not None else []):
        raise UserError(f"--{(edits or ['strength'])[0]} needs --init_audio")
    check_repeats(options.repaint)
    if options.init_audio is not None:
        if len(edits) != 1:
            what = " and ".join(edits) or "nothing"
            raise UserError(
                f"--init_audio with {what}: give one of --strength, --inpaint, --extend_before/after, --bands, --loop"
            )
        seconds = sound_seconds(options)
        read_init(options.init_audio, None, 16_000)
        if options.inpaint is not None:
            check_regions(parse_regions(options.inpaint), seconds, options.init_audio)
        if options.bands is not None:
            parse_bands(options.bands)
        if options.loop and not 0 < options.seam < seconds:
            raise UserError(f"a seam of {options.seam:g} s does not fit in {options.init_audio}, of {seconds:g} s")
        check_length(seconds + options.extend_before + options.extend_after, "the extension")
    if options.blend_prompt is not None or options.blend_seed is not None:
        blend_of(options)
    if (options.control is None) != (options.curve is None):
        raise UserError("--control and --curve belong together")
    _pair(options.control_window, "control_window")


def check_control(options: SteeringOptions, seconds: float | None) -> None:
    """Raises UserError for a curve that cannot be read or does not fit into `seconds` (None: not known)."""
    if options.control is not None:
        control_of(options, 3600.0 if seconds is None else seconds)


def sound_seconds(options: SteeringOptions) -> float:
    """Length of --init_audio. Raises UserError for a file that cannot be read."""
    import soundfile

    from soundctm.data.audio import read_audio

    if not Path(options.init_audio).is_file():
        raise UserError(f"no sound file at {options.init_audio}")
    try:
        return soundfile.info(os.fsencode(options.init_audio)).duration
    except soundfile.SoundFileError:
        read_audio(options.init_audio)  # has the sentence
        raise


def blend_of(options: SteeringOptions):
    """The blend, or None."""
    if options.blend_prompt is None and options.blend_seed is None:
        return None
    from soundctm.editing import Blend

    text = options.blend_share if ":" in options.blend_share else f"{options.blend_share}:{options.blend_share}"
    return Blend(options.blend_prompt, options.blend_seed, _pair(text, "blend_share"))


def control_of(options: SteeringOptions, seconds: float):
    """The control over clips of `seconds`, or None."""
    if options.control is None:
        return None
    from soundctm.control import Control, Objective, read_curve
    from soundctm.control.measures import MEASURES

    objective = Objective(MEASURES[options.control], read_curve(options.curve, seconds))
    return Control(
        objective, options.control_method, options.control_iterations, options.control_strength,
        _pair(options.control_window, "control_window"), options.control_threshold, options.control_candidates,
    )  # fmt: skip


class Steered:
    """A pipeline and the options that steer it: `make` makes clips of captions."""

    def __init__(self, pipeline: SoundCTMPipeline, options: Any, seconds: float | None) -> None:
        """`seconds` is the length of new clips, None the model's own."""
        self.pipeline, self.options, self.seconds = pipeline, options, seconds
        self.agreement = None

    def make(self, captions: Sequence[str], seeds: Sequence[int], **sampling: Any) -> tuple[SoundCTMOutput, list]:
        """The clips, and the error of each against the curve that control was to follow, None without."""
        extra = self._extra(self.pipeline)
        control = extra.get("control")
        arguments = {**sampling, **extra, "seed": list(seeds)}
        made = self._operation(captions, arguments)
        if control is None:
            return made, [None] * len(made.audios)
        import torch

        errors = control.objective.error_of_waveform(torch.from_numpy(made.audios), made.sampling_rate)
        return made, errors.tolist()

    def _extra(self, pipe: SoundCTMPipeline) -> dict[str, Any]:
        options, extra = self.options, {}
        if options.negative_prompt is not None:
            extra["negative_prompt"] = options.negative_prompt
        if (blend := blend_of(options)) is not None:
            extra["blend"] = blend
        if options.control is not None:
            extra["control"] = control_of(options, self._length())
        if options.loop and options.init_audio is None:
            extra["loop"] = True
        if options.rank is not None:
            from soundctm.ranking import load_agreement

            self.agreement = self.agreement or load_agreement(pipe.text_encoder)
            extra |= {"rank": options.rank, "agreement": self.agreement}
            if options.rank == "best":
                extra["num_waveforms_per_prompt"] = options.num_samples
        return extra

    def _length(self) -> float:
        options = self.options
        if options.init_audio is not None:
            return sound_seconds(options) + options.extend_before + options.extend_after
        return self.seconds or self.pipeline.defaults.seconds or self.pipeline.codec.default_seconds

    def _operation(self, captions: Sequence[str], arguments: dict[str, Any]) -> SoundCTMOutput:
        from soundctm.editing import parse_bands, parse_regions

        options, pipe = self.options, self.pipeline
        if options.init_audio is None:
            return pipe(captions, seconds=self.seconds, **arguments)
        if options.inpaint is not None:
            return pipe.inpaint(
                captions, options.init_audio, parse_regions(options.inpaint),
                strength=1.0 if options.strength is None else options.strength, repeats=options.repaint, **arguments,
            )  # fmt: skip
        if options.bands is not None:
            strength = 1.0 if options.strength is None else options.strength
            return pipe.make_bands(
                captions, options.init_audio, parse_bands(options.bands), strength=strength, **arguments
            )
        if options.loop:
            return pipe.make_loop(captions, options.init_audio, seam=options.seam, repeats=options.repaint, **arguments)
        if options.strength is not None:
            return pipe.vary(captions, options.init_audio, strength=options.strength, **arguments)
        return pipe.extend(
            captions, options.init_audio, after=options.extend_after, before=options.extend_before,
            repeats=options.repaint, **arguments,
        )  # fmt: skip


def _pair(text: str, name: str) -> tuple[float, float]:
    try:
        first, last = (float(part) for part in text.split(":"))
    except ValueError:
        raise UserError(f"{name} is {text!r}; give two numbers, for example 0:1") from None
    return first, last
