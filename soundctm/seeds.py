"""Seeds that belong to a clip, not to its place in a list."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence


def clip_seed(seed: int, name: str, sample: int = 0) -> int:
    """A 63-bit seed for sample number `sample` of the clip called `name` (its caption or file name)."""
    digest = hashlib.sha256(f"{seed}\n{sample}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def clip_seeds(seed: int, names: Sequence[str]) -> list[int]:
    """A seed per name; the k-th occurrence of the same name counts as its sample k."""
    seen: Counter[str] = Counter()
    seeds = []
    for name in names:
        seeds.append(clip_seed(seed, name, seen[name]))
        seen[name] += 1
    return seeds
