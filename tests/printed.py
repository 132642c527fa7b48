"""The commands that README and docs print, found in their text."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "data" / "README.md", ROOT / "ckpt" / "mini" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
SETTINGS = r"(?:[A-Z_]+=\S+ )*"  # before a command, for it alone
PROGRAMS = "bash|python|accelerate|soundctm|hf|source|cd|pip|uv|apt-get|git|cat|mkdir|docker"


def commands(page: Path) -> list[str]:
    """The commands of a page in their order: lines of indented and ```bash blocks, joined over backslashes and without
    remarks, and whole commands within sentences and tables."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced and line.strip() in ("```bash", "```sh", "```shell")
        elif (fenced or re.match(r"    |\t", line)) and re.match(rf"{SETTINGS}(?:{PROGRAMS}) ", line.strip()):
            found.append(re.sub(r"\s{2,}#.*$| # .*$", "", line.strip()))
        else:
            found += re.findall(rf"`({SETTINGS}(?:bash|python|accelerate|soundctm) [^`]+)`", line)
    return [" ".join(command.split()) for command in found]


def printed() -> list[tuple[str, str]]:
    """(page, command) of all pages, each once, in the order of the pages."""
    return list(dict.fromkeys((page.relative_to(ROOT).as_posix(), c) for page in PAGES for c in commands(page)))
