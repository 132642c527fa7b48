"""Reference and generated clips next to each other: which are shown, their sheet of spectrograms and their players."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from soundctm.evaluation.folders.clips import clip_name, list_clips
from soundctm.evaluation.folders.pairing import pair_by_name
from soundctm.evaluation.pages import document
from soundctm.evaluation.pages.pictures import spectrogram_sheet
from soundctm.evaluation.pages.sounds import NamedSound, file_rate, read_sound

T = TypeVar("T")
COLUMNS = ("reference", "generated")


@dataclass(frozen=True)
class Comparison:
    """Rows (reference, generated) of clips; `paired` says whether the two of a row belong together by name."""

    rows: tuple[tuple[NamedSound | None, NamedSound], ...]
    paired: bool


def choose(reference_dir: str | os.PathLike | None, generated_dir: str | os.PathLike, most: int) -> Comparison:
    """At most `most` rows, spread evenly over the generated clips by name, at the rate of the first of them.

    Without one common name the rows show clips of both folders that have nothing to do with each other; without
    `reference_dir`, generated clips alone. Raises UserError as `list_clips` and for a clip that cannot be read.
    """
    generated = list_clips(generated_dir)
    reference = [] if reference_dir is None else list_clips(reference_dir)
    names = (
        [clip_name(path, reference_dir) for path in reference],
        [clip_name(path, generated_dir) for path in generated],
    )
    pairs = pair_by_name(*names).pairs
    rows: list[tuple[Path | None, Path]] = [(reference[i], generated[j]) for i, j in spread(pairs, most)]
    if not pairs:
        shown = spread(generated, most)
        beside = spread(reference, len(shown))
        rows = list(zip([*beside, *[None] * (len(shown) - len(beside))], shown, strict=True))
    rate = file_rate(rows[0][1])
    sounds = ((None if first is None else read_sound(first, rate), read_sound(second, rate)) for first, second in rows)
    return Comparison(tuple(sounds), bool(pairs))


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` items, evenly spread from the first on."""
    count = min(len(items), most)
    return [items[i * len(items) // count] for i in range(count)]


def sections(comparison: Comparison) -> list[document.Html]:
    """The sheet and a table of players, for a page."""
    rows = comparison.rows
    has_reference = any(first is not None for first, _ in rows)
    columns = COLUMNS if has_reference else COLUMNS[1:]
    shown = [row[-len(columns) :] for row in rows]
    what = "Clips of one name stand side by side." if comparison.paired else "Clips of one row do not belong together."
    remark = [document.paragraph(what)] if has_reference else []
    sheet = spectrogram_sheet(shown, columns)
    players = [["" if sound is None else _cell(sound) for sound in row] for row in shown]
    scale = document.paragraph("Colours: 0 to 80 dB below the loudest point of all clips shown.")
    return [
        *remark, scale, document.picture(sheet, "spectrograms of the clips below"), document.table(columns, players),
    ]  # fmt: skip


def _cell(sound: NamedSound) -> document.Html:
    return document.joined(document.faint(sound.name), document.player(sound))
