"""A hook of mkdocs: pages that lie outside of docs/ join the site, and links between files become links of the site.

README files of folders, the changes and the guide for contributors stay where people look for them in a repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {  # file in the repository: page of the site
    "ckpt/mini/README.md": "mini.md",
    "data/README.md": "data.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")


def on_files(files, config):
    """Add the pages."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        if text.startswith("---\n"):  # the head of a model card
            text = text.split("\n---\n", 1)[1]
        files.append(File.generated(config, page, content=_relinked(text, source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Rewrite the links of pages in docs/."""
    if page.file.src_uri in PAGES.values():
        return markdown
    return _relinked(markdown, f"docs/{page.file.src_uri}")


def _relinked(text: str, source: str) -> str:
    """`text` of a file of the repository, with links as they are on the site."""

    def relinked(found: re.Match) -> str:
        before, target, anchor, after = found[1], found[2], found[3] or "", found[4]
        if "://" in target or target.startswith(("mailto:", "/")):
            return found[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if place in PAGES:
            return f"{before}{PAGES[place]}{anchor}{after}"
        if place.startswith("docs/"):
            return f"{before}{place.removeprefix('docs/')}{anchor}{after}"
        if place == "README.md":
            return f"{before}index.md{after}"
        return found[0] if not (ROOT / place).exists() else f"{before}index.md{after}"

    return LINK.sub(relinked, text)
