"""Which clips a run makes: the name and the seed of each.

A seed comes from (seed, file name or else caption, sample number), so adding or reordering captions changes no other
clip. A name keeps the folders that its list gives it, is harmless, stays below the output folder, and no two clips of a
run share it, on any file system. Further captions of one file get a piece of their hash: `x.wav`, `x-867d08.wav`;
evaluation pairs them by the same rule (soundctm.evaluation.folders.pairing).
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

    name: str  # file name without `.wav`, with folders: "birds/a"
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
    """A name (without ending) made of `text`: that of a file with its folders, or else the words of a caption.

    A file name keeps all that is harmless, so that wavs can be paired with references by name; of one that leaves its
    folder (`/etc/x.wav`, `C:\\x.wav`, `../x.wav`) the last part. No part of the result is empty or hidden.
    """
    text = unicodedata.normalize("NFC", text)
    if not is_file_name:
        return _part(re.sub(r"\W+", "_", text).strip("_"))
    parts = re.split(r"[/\\]", text)
    leaves = not parts[0].strip() or re.fullmatch("[A-Za-z]:", parts[0]) or ".." in (part.strip() for part in parts)
    parts = [part for part in parts if part.strip(". ")] or [""]
    folders = [] if leaves else parts[:-1]
    return "/".join(map(_part, [*folders, re.sub(r"\.[A-Za-z0-9]{1,5}$", "", parts[-1])]))


def _part(text: str) -> str:
    """One component of a path, of at most MAX_BYTES, that every file system takes."""
    text = "".join("_" if c in '<>:"|?*/\\' or not c.isprintable() else c for c in text)
    return text.encode("utf-8")[:MAX_BYTES].decode("utf-8", errors="ignore").strip(". ") or "clip"


def _free_names(prompt: Prompt, num_samples: int, taken: set[str]) -> list[str]:
    stem = safe_stem(prompt.file_name or prompt.caption, prompt.file_name is not None)
    digest = hashlib.sha256(f"{prompt.file_name}\n{prompt.listed_caption}".encode()).hexdigest()[:6]
    count = 1
    while True:
        base = stem if count == 1 else f"{stem}-{digest}" if count == 2 else f"{stem}-{digest}-{count - 1}"
        names = [base] if num_samples == 1 else [f"{base}_{k}" for k in range(num_samples)]
        if not any(name.casefold() in taken for name in names):
            return names
        count += 1
