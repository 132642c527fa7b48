"""Which clips a run makes: the name and the seed of each.

A seed comes from (seed, file name or else caption, sample number), so adding or reordering captions changes no other
clip. A name is one harmless path component, and no two clips of a run share it, on any file system.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from soundctm.inference.prompts import Prompt
from soundctm.seeds import clip_seed

MAX_BYTES = 120  # of a name without its ending; file systems end at 255


@dataclass(frozen=True)
class Clip:
    """One wav to make."""

    name: str  # file name without `.wav`
    caption: str
    seed: int


def plan_clips(prompts: Sequence[Prompt], seed: int, num_samples: int) -> list[Clip]:
    """The clips of a run, in the order of the prompts; `num_samples` > 1 appends `_0`, `_1`, ... to the names.

    Where two rows ask for the same name, the later one gets a piece of its caption's hash.
    """
    taken: set[str] = set()
    clips = []
    for prompt in prompts:
        key = prompt.file_name or prompt.caption
        names = _free_names(prompt, num_samples, taken)
        for sample, name in enumerate(names):
            taken.add(name.casefold())
            clips.append(Clip(name, prompt.caption, clip_seed(seed, key, sample)))
    return clips


def safe_stem(text: str, is_file_name: bool) -> str:
    """A file name (without ending) made of `text`: its last path component if it is a file name, else its words.

    A file name keeps all that is harmless, so that wavs can be paired with references by name. The result is never
    empty, hidden, or a path.
    """
    text = unicodedata.normalize("NFC", text)
    if is_file_name:
        parts = [part for part in re.split(r"[/\\]+", text) if part.strip(". ")]
        text = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", parts[-1]) if parts else ""
        stem = "".join("_" if c in '<>:"|?*' or not c.isprintable() else c for c in text)
    else:
        stem = re.sub(r"\W+", "_", text).strip("_")
    return stem.encode("utf-8")[:MAX_BYTES].decode("utf-8", errors="ignore").strip(". ") or "clip"


def _free_names(prompt: Prompt, num_samples: int, taken: set[str]) -> list[str]:
    stem = safe_stem(prompt.file_name or prompt.caption, prompt.file_name is not None)
    digest = hashlib.sha256(f"{prompt.file_name}\n{prompt.caption}".encode()).hexdigest()[:6]
    count = 1
    while True:
        base = stem if count == 1 else f"{stem}-{digest}" if count == 2 else f"{stem}-{digest}-{count - 1}"
        names = [base] if num_samples == 1 else [f"{base}_{k}" for k in range(num_samples)]
        if not any(name.casefold() in taken for name in names):
            return names
        count += 1
