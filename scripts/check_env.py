"""Does this Python hold the pinned packages? Exit 0 if so; else one line per difference and exit 1.

    python scripts/check_env.py requirements.txt

Reads package metadata only (nothing is imported), so that the scripts can ask on every start.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def pins(path: Path) -> dict[str, str]:
    """Package -> version of a requirements file made of `name==version`, `-r file`, comments and blank lines.

    Of `name[extra]==version` the package alone is looked at.
    """
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#", 1)[0].strip()
        if line.startswith("-r "):
            found.update(pins(path.parent / line[3:].strip()))
        elif line:
            match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,-]+\])?==(\S+)", line)
            if match is None:
                raise SystemExit(f"error: {path}: {line!r} is not name==version")
            found[match[1]] = match[2]
    return found


def differences(path: Path) -> list[str]:
    """What is missing or at another version; a local part (2.11.0+cpu) does not count."""
    wrong = []
    for name, wanted in pins(path).items():
        try:
            present = version(name).split("+", 1)[0]
        except PackageNotFoundError:
            wrong.append(f"{name}=={wanted} is missing")
            continue
        if present != wanted:
            wrong.append(f"{name} is {present}, not {wanted}")
    return wrong


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (this file asks any Python that is found)
        print(f"Python {sys.version.split()[0]} is older than 3.11")
        raise SystemExit(1)
    found = differences(Path(sys.argv[1]))
    print("\n".join(found), end="\n" if found else "")
    raise SystemExit(1 if found else 0)
