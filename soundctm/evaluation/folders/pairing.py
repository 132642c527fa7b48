"""Which generated clip belongs to which reference clip or caption: by file name.

Names are compared without their ending, as the official evaluation compares whole names, and with their folders: as
they are first, then in one normal form (`soundctm.data.names`). Of several samples per caption, `x_0.wav`, `x_1.wav`,
... all belong to `x`, and so do `x-867d08.wav`, ..., which inference writes for further captions of one file, unless
the other side has such a name of its own. Where one of two names has no folder, the last part alone may decide, if it
occurs once on either side.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from soundctm.data.names import normal
from soundctm.errors import UserError

SAMPLE = re.compile(r"(.+)_\d+")
FURTHER_CAPTION = re.compile(r"(.+)-[0-9a-f]{6}(-\d+)?")  # soundctm.inference.clips


@dataclass(frozen=True)
class Pairing:
    """Matched (index of the first list, index of the generated names), and the names left over on both sides."""

    pairs: tuple[tuple[int, int], ...]
    unmatched_first: tuple[str, ...]
    unmatched_generated: tuple[str, ...]


def pair_by_name(first: Sequence[str], generated: Sequence[str], what: str = "reference clips") -> Pairing:
    """Pair file names (references, or those of captions) with generated ones; `what` names the first list.

    Raises UserError when two names of the first list differ in their ending alone.
    """
    exact: dict[str, int] = {}
    for i, name in enumerate(first):
        if _stem(name) in exact:
            raise UserError(
                f"among the {what}, {first[exact[_stem(name)]]} and {name} have one name; remove one of them"
            )
        exact[_stem(name)] = i
    normals = _unique((normal(stem), i) for stem, i in exact.items())
    last_parts = _unique((_last(normal(stem)), i) for stem, i in exact.items())
    flat = {i for stem, i in exact.items() if "/" not in normal(stem)}
    times = Counter(_last(normal(_stem(name))) for name in generated)

    def partner(name: str) -> int | None:
        whole = list(_meant(_stem(name)))
        for stem in whole:
            found = exact.get(stem, normals.get(normal(stem)))
            if found is not None:
                return found
        has_folder = "/" in normal(whole[0])
        if times[_last(normal(whole[0]))] > 1:
            return None
        candidates = (last_parts.get(_last(normal(stem))) for stem in whole)
        return next((i for i in candidates if i is not None and (not has_folder or i in flat)), None)

    pairs, left = [], []
    for j, name in enumerate(generated):
        i = partner(name)
        if i is None:
            left.append(name)
        else:
            pairs.append((i, j))
    used = {i for i, _ in pairs}
    return Pairing(tuple(pairs), tuple(name for i, name in enumerate(first) if i not in used), tuple(left))


def _meant(stem: str) -> Iterator[str]:
    """`stem`, and what it may be a sample or a further caption of."""
    yield stem
    sample = SAMPLE.fullmatch(stem)
    if sample is not None:
        yield sample[1]
    for longer in (stem, *([sample[1]] if sample is not None else [])):
        further = FURTHER_CAPTION.fullmatch(longer)
        if further is not None:
            yield further[1]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).name else name


def _last(stem: str) -> str:
    return stem.rsplit("/", 1)[-1]


def _unique(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The keys that occur once."""
    found: dict[str, list[int]] = {}
    for key, i in items:
        found.setdefault(key, []).append(i)
    return {key: numbers[0] for key, numbers in found.items() if len(numbers) == 1}
