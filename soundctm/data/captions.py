"""How sounds are described: the hand-written table `data/captions.yaml` and the drawing of one caption from it."""

from __future__ import annotations

import dataclasses
import hashlib
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
THEN = ("{} followed by {}", "{} and then {}", "{}, then {}", "{} before {}", "{1} after {0}", "first {}, then {}")
TIMES = {2: "twice", 3: "three times", 4: "four times"}
COUNTED = 0.5  # share of captions of so many events that say how many
FEWEST = 3  # phrasings of a label of which one is held out


@dataclasses.dataclass(frozen=True)
class LabelSpec:
    """One entry of the table; the head of `data/captions.yaml` explains the fields."""

    say: tuple[str, ...]
    many: tuple[str, ...] = ()
    captions: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    own: bool = True
    style: str = "event"
    period: tuple[float, float] = (0.4, 1.0)
    heard: tuple[str, ...] = ()
    held_out: str | None = None  # a phrasing that training does not use: see `hold_out`, not the file

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


def hold_out(table: Mapping[str, LabelSpec]) -> dict[str, LabelSpec]:
    """`table` without one phrasing of every label that has enough, which is its `held_out` then.

    Chosen by a hash, among phrasings in `say` that occur nowhere else in the table, nor in a longer one.
    """
    phrases = [phrase.lower() for spec in table.values() for phrase in spec.all_phrases()]

    def unique(phrase: str) -> bool:
        return sum(phrase.lower() in other for other in phrases) == 1

    def order(label: str, phrase: str) -> str:
        return hashlib.sha256(f"{label}: {phrase}".encode()).hexdigest()

    found = {}
    for label, spec in table.items():
        single = sorted((p for p in spec.say if unique(p)), key=lambda phrase: order(label, phrase))
        if len(spec.say) >= FEWEST and single:
            kept = tuple(phrase for phrase in spec.say if phrase != single[0])
            spec = dataclasses.replace(spec, say=kept, held_out=single[0])
        found[label] = spec
    return found


def draw_caption(spec: LabelSpec, row: CorpusRow, repeated: bool, rng: np.random.Generator, count: int = 0) -> str:
    """A phrasing of `row`'s sound without wrapping; `repeated` tells whether it was placed several times.

    `count` is how often, where a listener can count; a share of the captions then says so.
    """
    if count in TIMES and rng.random() < COUNTED:
        phrases = spec.captions.get(row.caption, spec.say)
        return f"{phrases[rng.integers(len(phrases))]}{', ' if rng.random() < 0.5 else ' '}{TIMES[count]}"
    if row.caption in spec.captions:
        phrases = spec.captions[row.caption]
    else:
        phrases = spec.many if repeated and spec.many else spec.say
        own = spec.own and (spec.held_out is None or spec.held_out.lower() not in row.caption.lower())
        if own and not (repeated and spec.many) and rng.random() < OWN_CAPTION:
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
    known = {field.name for field in dataclasses.fields(LabelSpec)} - {"held_out"}
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
