"""`python -m soundctm.evaluation.models.yardstick`: see the package."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from soundctm.command import run_module
from soundctm.evaluation.models import yardstick
from soundctm.evaluation.models.yardstick.run import YardstickOptions, measure


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 for wrong use."""
    return run_module(yardstick.__name__, yardstick.__doc__, YardstickOptions, measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
