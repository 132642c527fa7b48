"""What `python -m audioldm.MODULE` says: that it is no command. Else it would do nothing, with exit 0."""

import re
import sys

WRONG = 2


def refuse_to_run() -> None:
    """Ends the process when it was started as `python -m audioldm` or as one of its modules: none runs anything.

    Called while the package is imported; `sys.argv[0]` is "-m" only until `python -m` has found its module.
    """
    if sys.argv[:1] != ["-m"]:
        return
    started = re.search(r"\0-[A-Za-z]*m\0?((?:soundctm\.)?audioldm(?:\.\w+)*)(?:\0|$)", "\0".join(sys.orig_argv))
    if started is not None:
        better = "python ctm_inference.py, or AudioLDMCodec.from_pretrained in Python"
        print(f"error: {started[1]} is no command; try {better}", file=sys.stderr)
        sys.exit(WRONG)
