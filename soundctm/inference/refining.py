"""`--refine MANIFEST_ROW`: a clip of an earlier run once more, with more steps and everything else as it was.

The same seed at more steps keeps the content and betters the sound: draft many at one step, choose, refine the chosen.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from soundctm.defaults import HEUN, NO_OMEGA
from soundctm.errors import UserError
from soundctm.inference.again import seed_of
from soundctm.inference.clips import Clip
from soundctm.inference.manifest import Entry, Manifest
from soundctm.inference.options import InferenceOptions
from soundctm.inference.steering import CANDIDATES, SteeringOptions, read_cell

STEPS = 4  # where --num_steps is not given


def read_row(text: str) -> Entry:
    """The entry that FOLDER/manifest.csv:ROW names; ROW is a wav's name, or a number from 1 on.

    Raises UserError when there is no such file or row.
    """
    path, colon, row = text.rpartition(":")
    if not colon or not row or Path(path).name != "manifest.csv":
        raise UserError(f"--refine {text!r} is no row of a manifest; give FOLDER/manifest.csv:NAME.wav, or its number")
    if not Path(path).is_file():
        raise UserError(f"no manifest at {path}")
    entries = Manifest(Path(path).parent).read()
    if row in entries:
        return entries[row]
    if row.isdigit() and 1 <= int(row) <= len(entries):
        return list(entries.values())[int(row) - 1]
    raise UserError(f"{path} has no row {row}; it has {len(entries)}, for example {next(iter(entries), 'none')}")


def refined(options: InferenceOptions) -> tuple[InferenceOptions, list[Clip]]:
    """Options and the one clip that --refine asks for: what is given counts, the rest is the row's."""
    entry = read_row(options.refine)
    teacher = entry.sampler == HEUN
    row = {
        "sampler": None if teacher else entry.sampler,
        "omega": NO_OMEGA if entry.omega == NO_OMEGA else _number(entry, "omega"),
        "nu": _number(entry, "nu"),
        "sampling_gamma": _number(entry, "gamma"),
        "target_length": _number(entry, "target_length"),
        "sampling_rate": _number(entry, "sampling_rate"),
    }
    values = {name: value for name, value in row.items() if getattr(options, name) is None}
    if values.get("sampler") == "onestep":
        values["sampler"] = "deterministic"
    if not options.official and options.checkpoint is None:
        values["checkpoint"] = entry.checkpoint
    steering = read_cell(entry.steering, options.refine)
    for name in ("rank", CANDIDATES):  # the choice is made
        steering.pop(name, None)
    defaults = {field.name: field.default for field in dataclasses.fields(SteeringOptions)}
    values |= {name: value for name, value in steering.items() if getattr(options, name) == defaults[name]}
    steps = options.num_steps or STEPS
    options = dataclasses.replace(options, **values, num_steps=steps, weights=entry.weights, num_samples=1)
    name = f"{Path(entry.file).stem}_{steps}steps"
    return options, [Clip(name, entry.caption, seed_of(entry.chosen_seed or entry.seed, entry.file))]


def _number(entry: Entry, column: str) -> float | None:
    text = getattr(entry, column)
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise UserError(f"the manifest's {column} of {entry.file} is {text[:40]!r}; it must be a number")
    return value
