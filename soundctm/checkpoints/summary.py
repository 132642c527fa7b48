"""`summary.jsonl` of the official release: the first line holds every option of the training run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soundctm.errors import UserError
from soundctm.schedule import SigmaSchedule

SCHEDULE_KEYS = ("sigma_min", "sigma_max", "rho", "sigma_data")


def read_summary(path: str | os.PathLike) -> dict[str, Any]:
    """The training options in the first line of a summary file. Raises UserError when there are none."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            values = json.loads(file.readline())
    except OSError as error:
        raise UserError(f"no training summary at {path}") from error
    except ValueError as error:
        raise UserError(f"the first line of {path} is not JSON, as a training summary's must be") from error
    if not isinstance(values, dict):
        raise UserError(f"the first line of {path} must be a JSON object of training options")
    return values


def schedule_from_summary(values: Mapping[str, Any]) -> SigmaSchedule:
    """The noise schedule that a run was trained with; the released values where an option is absent."""
    given = {key: values[key] for key in SCHEDULE_KEYS if values.get(key) is not None}
    try:
        return SigmaSchedule(**{key: float(value) for key, value in given.items()})
    except (TypeError, ValueError) as error:
        raise UserError(f"the training summary has no usable noise schedule: {given}") from error
