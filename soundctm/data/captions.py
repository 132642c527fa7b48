"""How sounds are described: the hand-written table `data/captions.yaml` and the drawing of one caption from it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soundctm.data.corpus import DATA_FOLDER, CorpusRow
from soundctm.errors import UserError
from soundctm.files.reading import read_yaml

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
LONGEST_PERIOD = 86_400  # seconds
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
    table = read_yaml(path)
    if not table:
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
    place = f"{path}: the entry {label[:80]!r}"
    if not isinstance(entry, dict) or not entry.get("say"):
        raise UserError(f"{place} needs a list `say`")
    unknown = sorted(str(name)[:80] for name in set(entry) - known)
    if unknown:
        raise UserError(f"{place} has the unknown field {', '.join(unknown)}")
    values = dict(entry)
    for name in ("say", "many", "heard"):
        if name in values:
            values[name] = _phrases(values[name], f"{place}: `{name}`")
    own_phrases = entry.get("captions", {})
    if not isinstance(own_phrases, dict) or not all(isinstance(caption, str) for caption in own_phrases):
        raise UserError(f"{place}: `captions` must give lists of phrasings by caption")
    values["captions"] = {
        caption: _phrases(phrases, f"{place}: the caption {caption[:80]!r}", empty=False)
        for caption, phrases in own_phrases.items()
    }
    if not isinstance(entry.get("own", True), bool):
        raise UserError(f"{place}: `own` must be true or false")
    if entry.get("style", STYLES[0]) not in STYLES:
        style = str(entry["style"])[:80]
        raise UserError(f"{path}: the style of {label[:80]!r} is {style!r}; it must be one of {', '.join(STYLES)}")
    if "period" in entry:
        values["period"] = _period(entry["period"], f"{path}: the period of {label[:80]!r}")
    return LabelSpec(**values)


def _phrases(values: Any, place: str, empty: bool = True) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(text, str) and text.strip() for text in values):
        raise UserError(f"{place} must be a list of texts")
    if not values and not empty:
        raise UserError(f"{place} has no phrasings")
    return tuple(values)


def _period(values: Any, place: str) -> tuple[float, float]:
    wrong = UserError(f"{place} must be two rising numbers of seconds, of at most {LONGEST_PERIOD}")
    if not isinstance(values, list) or len(values) != 2:
        raise wrong
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise wrong
    if not 0 < values[0] <= values[1] <= LONGEST_PERIOD:
        raise wrong
    return values[0], values[1]
