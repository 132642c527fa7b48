"""Making the clips of a manifest again: their captions, names and seeds, and the settings that they share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soundctm.defaults import HEUN
from soundctm.errors import UserError
from soundctm.inference.clips import Clip
from soundctm.inference.manifest import Entry, Manifest
from soundctm.inference.steering import read_cell

NEW = ("prompt", "test_file", "prefix", "seed", "num_samples")  # belong to new clips
MODEL_FILES = ("checkpoint", "model", "ema_model", "training_args")
OPTIONS = {  # column: option
    "sampler": "sampler",
    "steps": "num_steps",
    "omega": "omega",
    "nu": "nu",
    "gamma": "sampling_gamma",
    "weights": "weights",
    "dtype": "dtype",
    "sampling_rate": "sampling_rate",
    "target_length": "target_length",
}


def chosen_entries(path: str | os.PathLike, only: Sequence[str] = ()) -> list[Entry]:
    """The lines of the manifest at `path`, or those of the files named. Raises UserError when there are none."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no manifest at {path}")
    entries = Manifest(path.parent, path.name).read()
    absent = [name for name in only if name not in entries]
    if absent or not entries:
        raise UserError(f"{path} describes no {absent[0] if absent else 'clips'}")
    return [entry for name, entry in entries.items() if not only or name in only]


def shared_options(entries: Sequence[Entry], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options for `entries` that were not `given`. Raises UserError for options of new clips, and where rows differ."""
    new = [name for name in NEW if name in given]
    if new:
        raise UserError(f"--{new[0]} is for new clips; with --manifest, captions and seeds are those of its rows")
    found = {}
    for column, name in OPTIONS.items():
        values = sorted({getattr(entry, column) for entry in entries})
        if name in given or values == [""]:
            continue
        if len(values) > 1:
            raise UserError(f"the rows have {column} {' and '.join(values)}; choose with --only, or give --{name}")
        if values != [HEUN]:
            found[name] = values[0]
    steering = sorted({entry.steering for entry in entries})
    if len(steering) > 1:
        raise UserError("the rows were steered in different ways; choose with --only")
    found |= {name: value for name, value in read_cell(steering[0], "the manifest").items() if name not in given}
    if not any(name in given for name in MODEL_FILES):
        places = sorted({entry.checkpoint for entry in entries})
        if len(places) > 1:
            raise UserError(f"the rows are of the checkpoints {' and '.join(places)}; choose with --only")
        found["checkpoint"] = places[0]
    return found


def clips_of(entries: Sequence[Entry]) -> list[Clip]:
    """The clips that the entries describe, with their names and seeds. Raises UserError for a seed that is none."""
    return [Clip(entry.file.removesuffix(".wav"), entry.caption, seed_of(entry.seed, entry.file)) for entry in entries]


def seed_of(text: str, file: str) -> int:
    """The seed in a manifest's cell of the clip `file`. Raises UserError."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 20:
        raise UserError(f"the manifest's seed of {file} is {text[:40]!r}; it must be a whole number")
    return int(text)
