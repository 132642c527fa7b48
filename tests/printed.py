"""The commands and calls that README and docs print, found in their text."""

from __future__ import annotations

import ast
import contextlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "data" / "README.md", ROOT / "ckpt" / "mini" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
SETTINGS = r"(?:[A-Z_]+=\S+ )*"  # before a command, for it alone
PROGRAMS = "bash|python|accelerate|soundctm|hf|source|cd|pip|uv|apt-get|git|cat|curl|mkdir|docker"
NAMED = re.compile(rf"`((?:time )?{SETTINGS}(?:bash|python|accelerate|soundctm) [^`]+)`")
WRITTEN = re.compile(rf"{SETTINGS}(?:{PROGRAMS}) ")


def commands(page: Path) -> list[str]:
    """The commands of a page in their order: lines of indented and ```bash blocks, joined over backslashes and without
    remarks, and whole commands within sentences and tables, over the ends of lines, too."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    found, prose, fence = [], [], None
    for line in [*text.splitlines(), ""]:
        if line.lstrip().startswith("```"):
            fence = None if fence else line.strip()
        elif (fence in ("```bash", "```sh", "```shell") or re.match(r"    |\t", line)) and WRITTEN.match(line.strip()):
            found.append(re.sub(r"\s{2,}#.*$| # .*$", "", line.strip()))
        elif fence is None and line.strip():
            prose.append(line)
            continue
        found += NAMED.findall(" ".join(prose))
        prose = []
    return [" ".join(command.removeprefix("time ").split()) for command in found]


def calls(page: Path) -> list[str]:
    """The Python of a page, block by block: ```python blocks, and indented ones without the commands among them."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```python\n(.*?)^```|((?:^    [^\n]*\n)+)", text + "\n", re.S | re.M)
    found = []
    for fenced, indented in blocks:
        lines = [line[4:] for line in indented.splitlines() if not WRITTEN.match(line.strip())]
        block = fenced or "\n".join(lines)
        with contextlib.suppress(SyntaxError):  # a drawing, a table, the output of a command
            if any(isinstance(node, ast.Call | ast.Attribute | ast.ImportFrom) for node in ast.walk(ast.parse(block))):
                found.append(block)
    return found


def printed() -> list[tuple[str, str]]:
    """(page, command) of all pages, each once, in the order of the pages."""
    return list(dict.fromkeys((page.relative_to(ROOT).as_posix(), c) for page in PAGES for c in commands(page)))
