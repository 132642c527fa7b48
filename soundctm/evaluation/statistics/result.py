"""What every statistic returns: a value, perhaps its interval, and from how many clips."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Score:
    """One number of a report.

    `low` and `high` bound the confidence interval, None where none was asked for or none can be given. `n_reference`
    and `n_generated` count clips, 0 where the statistic does not look at that side. `details` holds what else a reader
    needs to judge the value, all of it fit for JSON: numbers, booleans, strings.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n_reference: int = 0
    n_generated: int = 0
    details: dict[str, float | int | bool | str] = field(default_factory=dict)
