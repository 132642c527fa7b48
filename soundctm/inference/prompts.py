"""Lists of captions: CSV with a `caption` column (AudioCaps: `file_name,caption`), plain text, or `--prompt`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from soundctm.data.names import shown
from soundctm.data.tables import read_captions
from soundctm.errors import UserError
from soundctm.places import shipped


@dataclass(frozen=True)
class Prompt:
    """A caption, and the file name that its list gives it, as written there."""

    caption: str
    file_name: str | None = None
    without_prefix: str | None = field(default=None, compare=False)  # where one stands before the caption

    @property
    def listed_caption(self) -> str:
        """The caption as its list has it: what tells several captions of one file apart."""
        return self.caption if self.without_prefix is None else self.without_prefix


def read_prompts(
    path: str | os.PathLike | None, captions: Sequence[str] = (), prefix: str | None = None
) -> list[Prompt]:
    """The captions given one by one, then those of the file; `prefix` stands before each.

    Raises UserError as `read_captions`, and for a caption that is empty or no text.
    """
    prompts = []
    for text in captions:
        if not text.strip():
            raise UserError("a --prompt is empty; give a caption")
        if shown(text) != text:
            raise UserError(f"the --prompt {shown(text)!r} is not UTF-8 text")
        prompts.append(Prompt(_one_line(text)))
    if path is not None:
        prompts += [Prompt(row.caption, row.file_name or None) for row in read_captions(shipped(path))]
    return [Prompt(prefix + p.caption, p.file_name, p.caption) for p in prompts] if prefix else prompts


def _one_line(text: str) -> str:
    return " ".join(text.split())
