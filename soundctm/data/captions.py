"""How sounds are described: the hand-written table `data/captions.yaml` and the drawing of one caption from it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from soundctm.data.corpus import DATA_FOLDER, CorpusRow
from soundctm.errors import UserError

STYLES = ("event", "repeat", "texture")
OWN_CAPTION = 0.2  # share of captions taken from the corpus table
# Share of single-sound captions per wrapping; the rest stays as it is.
WRAPPINGS = ((0.10, "the sound of {}"), (0.04, "sound of {}"), (0.03, "a recording of {}"), (0.03, "{} nearby"))
CAPITALISED = 0.25
FULL_STOP = 0.06
AND = ("{} and {}", "{} with {} in the background", "{} while {} can be heard")
THEN = ("{} followed by {}", "{} and then {}", "{}, then {}")


@dataclasses.dataclass(frozen=True)
class LabelSpec:
    """One entry of the table; the head of `data/captions.yaml` explains the fields."""

    say: tuple[str, ...]
    many: tuple[str, ...] = ()
    captions: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    own: bool = True
    style: str = "event"
    period: tuple[float, float] = (0.4, 1.0)
    weight: float = 1.0
    heard: tuple[str, ...] = ()

    def all_phrases(self) -> list[str]:
        """Every phrasing of the entry."""
        return [*self.say, *self.many, *(phrase for phrases in self.captions.values() for phrase in phrases)]


def load_caption_table(path: str | os.PathLike | None = None) -> dict[str, LabelSpec]:
    """The table at `path` (default: the repository's). Raises UserError naming the entry that is wrong."""
    path = Path(path) if path is not None else DATA_FOLDER / "captions.yaml"
    if not path.is_file():
        raise UserError(f"no caption table at {path}")
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(table, dict):
        raise UserError(f"{path} must hold one entry per label")
    return {str(label): _entry(str(label), entry, path) for label, entry in table.items()}


def draw_caption(spec: LabelSpec, row: CorpusRow, repeated: bool, rng: np.random.Generator) -> str:
    """A phrasing of `row`'s sound without wrapping; `repeated` tells whether it was placed several times."""
    if row.caption in spec.captions:
        phrases = spec.captions[row.caption]
    else:
        phrases = spec.many if repeated and spec.many else spec.say
        if spec.own and not (repeated and spec.many) and rng.random() < OWN_CAPTION:
            return row.caption
    return phrases[rng.integers(len(phrases))]


def wrap_caption(phrase: str, rng: np.random.Generator) -> str:
    """`phrase` as people might write it: sometimes "the sound of ...", capitalised or with a full stop."""
    draw = rng.random()
    for share, template in WRAPPINGS:
        if draw < share:
            phrase = template.format(phrase)
            break
        draw -= share
    return _finish(phrase, rng)


def join_phrases(first: str, second: str, sequence: bool, rng: np.random.Generator) -> str:
    """The caption of two sounds, one after the other (`sequence`) or at once; plain "and" is the usual form."""
    templates = THEN if sequence else AND
    template = templates[0] if rng.random() < 0.6 else templates[rng.integers(len(templates))]
    return _finish(template.format(first, second), rng)


def _finish(phrase: str, rng: np.random.Generator) -> str:
    if rng.random() < CAPITALISED:
        phrase = phrase[:1].upper() + phrase[1:]
    return phrase + "." if rng.random() < FULL_STOP else phrase


def _entry(label: str, entry: Any, path: Path) -> LabelSpec:
    known = {field.name for field in dataclasses.fields(LabelSpec)}
    if not isinstance(entry, dict) or not entry.get("say"):
        raise UserError(f"{path}: the entry {label!r} needs a list `say`")
    unknown = sorted(set(entry) - known)
    if unknown:
        raise UserError(f"{path}: the entry {label!r} has the unknown field {', '.join(unknown)}")
    values = dict(entry)
    for name in ("say", "many", "heard", "period"):
        if name in values:
            values[name] = tuple(values[name])
    values["captions"] = {caption: tuple(phrases) for caption, phrases in entry.get("captions", {}).items()}
    spec = LabelSpec(**values)
    if spec.style not in STYLES:
        raise UserError(f"{path}: the style of {label!r} is {spec.style!r}; it must be one of {', '.join(STYLES)}")
    if len(spec.period) != 2 or not 0 < spec.period[0] <= spec.period[1]:
        raise UserError(f"{path}: the period of {label!r} must be two rising numbers of seconds")
    return spec
