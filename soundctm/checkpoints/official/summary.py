"""`summary.jsonl` of the official release: the first line holds every option of the training run."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundctm.errors import UserError
from soundctm.files.reading import parse_json, read_text
from soundctm.schedule import SigmaSchedule

if TYPE_CHECKING:
    from soundctm.checkpoints.components import Components

SCHEDULE_KEYS = ("sigma_min", "sigma_max", "rho", "sigma_data")


def read_summary(path: str | os.PathLike) -> dict[str, Any]:
    """The training options in the first line of a summary file. Raises UserError when there are none."""
    if not Path(path).exists():
        raise UserError(f"no training summary at {path}")
    lines = read_text(path).splitlines()
    try:
        return parse_json(lines[0] if lines else "", f"{path}, line 1")
    except UserError as error:
        raise UserError(f"{error}; the first line must be a JSON object of training options") from error


def schedule_from_summary(values: Mapping[str, Any], sigma_data: float = SigmaSchedule().sigma_data) -> SigmaSchedule:
    """The noise schedule that a run was trained with; the released values where an option is absent, `sigma_data`
    among them."""
    given = {"sigma_data": sigma_data} | {key: values[key] for key in SCHEDULE_KEYS if values.get(key) is not None}
    try:
        return SigmaSchedule(**{key: float(value) for key, value in given.items()})
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"the training summary has no usable noise schedule: {error}") from error


def summary_of(parts: Components) -> dict[str, Any]:
    """The first line of a summary of `parts`: the options of their training and their noise schedule."""
    values = {**(parts.training_config or {}), **dataclasses.asdict(parts.schedule)}
    if parts.text_encoder is not None:
        values["text_encoder_name"] = parts.text_encoder.name
    return values
