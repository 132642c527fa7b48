"""A page to listen to: each caption by the student in few and in many steps, next to the teacher.

    python -m soundctm.evaluation.models.listen --checkpoint ckpt/mini --captions data/listen_captions.csv \\
        --output docs/listen.html --steps_sheet docs/steps.png

All clips of a caption start from the same noise. The page holds everything it shows; the wavs stay below `--work_dir`,
and the same command makes only those that are missing. `--steps_sheet` also draws the spectrograms of the first
captions at 1, 4 and 16 steps as one PNG.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundctm.command import run_module
from soundctm.config import option
from soundctm.defaults import SEED, Defaults
from soundctm.errors import UserError
from soundctm.evaluation.models.generation import ClipMaker, Generated, Setting
from soundctm.evaluation.pages import document
from soundctm.evaluation.pages.pictures import spectrogram_sheet, thumbnail
from soundctm.evaluation.pages.sounds import NamedSound, file_rate, read_sound
from soundctm.files import write_whole
from soundctm.inference.model import checkpoint_name
from soundctm.inference.options import DTYPES, OF_MODEL, InferenceOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListenOptions:
    """One run of `python -m soundctm.evaluation.models.listen`."""

    checkpoint: str | None = option(None, "checkpoint folder or hub id; the small model if not given")
    captions: str = option("data/listen_captions.csv", "a CSV with a column caption (and file_name), or .txt")
    output: str = option("docs/listen.html", "the page")
    title: str = option("SoundCTM: one step, many steps, and the teacher", "its heading")
    work_dir: str = option("outputs/listen", "the wavs, one folder per setting")
    steps: tuple[int, ...] = option((1, 16), "of the student, one column each")
    teacher_steps: int | None = option(40, "Heun levels of the teacher; none leaves it out")
    omega: float | None = option(None, "guidance of the student's trajectory", unset=OF_MODEL)
    teacher_omega: float | None = option(None, "guidance scale of the teacher", unset=OF_MODEL)
    steps_sheet: str | None = option(None, "a PNG: the first captions at --sheet_steps")
    sheet_steps: tuple[int, ...] = option((1, 4, 16), "columns of the PNG")
    sheet_captions: int = option(4, "rows of the PNG")
    seed: int = option(SEED, "decides each clip with its file name")
    batch_size: int = option(4, "clips at a time")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto takes the best there is")
    dtype: str = option("float32", "of networks and codec", choices=DTYPES)
    overwrite: bool = option(False, "replace wavs that were made by another checkpoint or seed")

    def __post_init__(self) -> None:
        if not self.steps or not self.sheet_steps:
            raise UserError("steps and sheet_steps need at least one value")
        if self.sheet_captions < 1:
            raise UserError(f"sheet_captions is {self.sheet_captions}; it must be at least 1")


def make_page(options: ListenOptions) -> Path:
    """Make the clips, the page and, if asked for, the sheet; returns the page. Raises UserError."""
    names = ("checkpoint", "seed", "batch_size", "device", "dtype", "overwrite")
    common = InferenceOptions(test_file=options.captions, **{name: getattr(options, name) for name in names})
    maker = ClipMaker(common, Path(options.work_dir))
    students = sorted({*options.steps, *(options.sheet_steps if options.steps_sheet else ())})
    made = {steps: maker.make(_student(options, maker.defaults, steps)) for steps in students}
    columns = {_count(steps, "step"): made[steps] for steps in options.steps}
    if options.teacher_steps is not None:
        if maker.has_weights("teacher"):
            omega = maker.defaults.omega if options.teacher_omega is None else options.teacher_omega
            label = f"teacher, {options.teacher_steps} Heun levels"
            columns[label] = maker.make(Setting.teacher(options.teacher_steps, omega))
        else:
            log.info("%s holds no teacher; the page does without it", checkpoint_name(common))

    document.save_page(options.output, options.title, *_sections(options, maker, columns))
    log.info("%s: %.1f MB", options.output, Path(options.output).stat().st_size / 1e6)
    if options.steps_sheet:
        chosen = {_count(steps, "step"): made[steps] for steps in options.sheet_steps}
        write_whole(options.steps_sheet, steps_sheet(maker, chosen, options.sheet_captions))
        log.info("%s", options.steps_sheet)
    return Path(options.output)


def steps_sheet(maker: ClipMaker, columns: dict[str, Generated], rows: int) -> bytes:
    """A PNG: spectrograms of the first `rows` captions, one column per number of steps, the caption above the first."""
    sounds = [
        [_sound(made, clip.name, clip.caption if column == 0 else "") for column, made in enumerate(columns.values())]
        for clip in maker.clips[:rows]
    ]
    return spectrogram_sheet(sounds, list(columns))


def _sections(options: ListenOptions, maker: ClipMaker, columns: dict[str, Generated]) -> list[document.Html]:
    header = ["caption"]
    for label, made in columns.items():
        setting = made.setting
        header.append(f"{label} (omega {setting.omega:g}, {made.seconds_per_clip:.2g} s per clip)")
    rows = []
    for clip in maker.clips:
        row: list[object] = [clip.caption]
        for label, made in columns.items():
            sound = _sound(made, clip.name, f"{clip.caption}, {label}")
            row.append(document.joined(document.picture(thumbnail(sound), sound.name, 256), document.player(sound)))
        rows.append(row)
    machines = sorted({made.machine for made in columns.values()})
    return [
        document.paragraph(
            f"Clips of {checkpoint_name(maker.options)}, seed {options.seed}: within a row all start from the same "
            "noise."
        ),
        document.paragraph(f"Times were measured on {'; '.join(machines)}."),
        document.table(header, rows, row_headings=True),
    ]


def _student(options: ListenOptions, usual: Defaults, steps: int) -> Setting:
    omega = usual.omega if options.omega is None else options.omega
    return Setting.student("ema", "deterministic", steps, omega, nu=1.0)


def _sound(made: Generated, name: str, title: str) -> NamedSound:
    path = made.folder / f"{name}.wav"
    return read_sound(path, file_rate(path), title)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is that of `run_module`."""
    return run_module("soundctm.evaluation.models.listen", __doc__, ListenOptions, make_page, arguments)


if __name__ == "__main__":
    sys.exit(main())
