"""Which generated clip belongs to which reference clip or caption: by file name.

Names are compared without their ending, as the official evaluation compares whole names. Of several samples per
caption, `x_0.wav`, `x_1.wav`, ... all belong to `x`, unless the other side has an `x_0` of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from soundctm.errors import UserError

SAMPLE = re.compile(r"(.+)_\d+")


@dataclass(frozen=True)
class Pairing:
    """Matched (index of the first list, index of the generated names), and the names left over on both sides."""

    pairs: tuple[tuple[int, int], ...]
    unmatched_first: tuple[str, ...]
    unmatched_generated: tuple[str, ...]


def pair_by_name(first: Sequence[str], generated: Sequence[str], what: str = "reference clips") -> Pairing:
    """Pair file names (references, or those of a CSV of captions) with generated ones; `what` names the first list.

    Raises UserError when two names of the first list differ in their ending alone.
    """
    index: dict[str, int] = {}
    for i, name in enumerate(first):
        stem = PurePath(name).stem
        if stem in index:
            raise UserError(f"among the {what}, {first[index[stem]]} and {name} have one name; remove one of them")
        index[stem] = i
    pairs, left = [], []
    for j, name in enumerate(generated):
        stem = PurePath(name).stem
        sample = SAMPLE.fullmatch(stem)
        if stem not in index and sample is not None:
            stem = sample[1]
        if stem in index:
            pairs.append((index[stem], j))
        else:
            left.append(name)
    used = {i for i, _ in pairs}
    return Pairing(tuple(pairs), tuple(name for i, name in enumerate(first) if i not in used), tuple(left))
