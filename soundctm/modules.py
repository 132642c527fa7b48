"""What packages do by themselves: names that are imported when they are first used, and what `python -m` of a module
says that is no command, which would else do nothing, with exit 0."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

COMMANDS = {  # where to go instead
    "soundctm.inference": "python ctm_inference.py, or python -m soundctm.inference.run",
    "soundctm.training": "python ctm_train.py",
    "soundctm.distillation": "python ctm_train.py distill",
    "soundctm.evaluation": "python numerical_evaluation.py, or python -m soundctm.evaluation.folders.run",
    "soundctm.checkpoints": "python -m soundctm.checkpoints.convert",
}
RUNS = re.compile(r'^if __name__ == "__main__":', re.MULTILINE)
WRONG = 2


def refuse_what_is_no_command(package: str) -> None:
    """Ends the process when it was started as `python -m MODULE` of a module of `package` that runs nothing.

    Called while the package is imported, which is before its module is run; `sys.argv[0]` is "-m" only then.
    A module that does not exist is left to Python, which says so.
    """
    name = started_module(package)
    if name is None:
        return
    path = Path(sys.modules[package].__path__[0], *name.split(".")[1:])
    source = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_dir() and not source.is_file():
        return
    if not source.is_file() or not RUNS.search(source.read_text(encoding="utf-8")):
        better = next((text for start, text in COMMANDS.items() if name.startswith(start)), "python ctm_inference.py")
        print(f"error: {name} is no command; try {better}", file=sys.stderr)
        sys.exit(WRONG)


def started_module(package: str) -> str | None:
    """The module of `package` that `python -m` is about to run; None when it is another or none."""
    if sys.argv[:1] != ["-m"]:
        return None
    found = re.search(rf"\0-[A-Za-z]*m\0?({re.escape(package)}(?:\.\w+)*)(?:\0|$)", "\0".join(sys.orig_argv))
    return None if found is None else found[1]


def imported_on_use(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names lie in `modules` (name: module within it).

    Torch, diffusers and transformers take seconds to import, which who needs another module of the package is spared.
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return find, lambda: sorted({*vars(sys.modules[package]), *modules})
