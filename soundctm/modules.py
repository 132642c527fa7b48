"""What `python -m soundctm.MODULE` says where the module is no command: else it would do nothing, with exit 0."""

from __future__ import annotations

import sys
from pathlib import Path

COMMANDS = {  # where to go instead
    "soundctm.inference": "python ctm_inference.py, or python -m soundctm.inference.run",
    "soundctm.training": "python ctm_train.py",
    "soundctm.distillation": "python ctm_train.py distill",
    "soundctm.evaluation": "python numerical_evaluation.py, or python -m soundctm.evaluation.folders.run",
    "soundctm.checkpoints": "python -m soundctm.checkpoints.convert",
}
WRONG = 2


def refuse_what_is_no_command(package: str) -> None:
    """Ends the process when it was started as `python -m MODULE` of a module of `package` that runs nothing.

    Called while the package is imported, which is before its module is run; `sys.argv[0]` is "-m" only then.
    """
    if sys.argv[:1] != ["-m"] or "-m" not in sys.orig_argv:
        return
    name = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if not name.startswith(f"{package}."):
        return
    path = Path(sys.modules[package].__path__[0], *name.split(".")[1:])
    source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    if source.is_file() and '__name__ == "__main__"' not in source.read_text(encoding="utf-8"):
        better = next((text for start, text in COMMANDS.items() if name.startswith(start)), "python ctm_inference.py")
        print(f"error: {name} is no command; try {better}", file=sys.stderr)
        sys.exit(WRONG)
