"""Quality against time of one checkpoint.

    python -m soundctm.evaluation.models.sweep --checkpoint ckpt/mini --captions data/test_captions.csv \\
        --reference_dir outputs/reference --corpus data/corpus --output_dir outputs/sweep \\
        --steps 1 2 4 8 16 --omega 2 3.5 5 --nu 1 1.5 --teacher_steps 10 20 40

Every setting has its folder of clips, all of the same captions and seeds. One thing at a time is varied around what
`ctm_inference.py` does by default (`--full_grid`: every combination). What is there is kept, so a sweep that was
stopped goes on where it was. Writes sweep.csv, sweep.md and quality_against_time.png.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from soundctm.command import run_module
from soundctm.evaluation.models.sweep.measure import sweep
from soundctm.evaluation.models.sweep.options import SweepOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is that of `run_module`."""
    return run_module("soundctm.evaluation.models.sweep", __doc__, SweepOptions, sweep, arguments)


if __name__ == "__main__":
    sys.exit(main())
