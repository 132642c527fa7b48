"""Lists of captions: CSV with a `caption` column (AudioCaps: `file_name,caption`), plain text, or `--prompt`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soundctm.data.names import shown
from soundctm.errors import UserError

MAX_CAPTION = 10_000  # characters; a longer one means that the file is no caption file


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

    Raises UserError when the file is absent, unreadable, without a `caption` column, or when a caption is empty.
    """
    prompts = []
    for text in captions:
        if not text.strip():
            raise UserError("a --prompt is empty; give a caption")
        if shown(text) != text:
            raise UserError(f"the --prompt {shown(text)!r} is not UTF-8 text")
        prompts.append(Prompt(_one_line(text)))
    if path is not None:
        prompts += _read_file(Path(path))
    return [Prompt(prefix + p.caption, p.file_name, p.caption) for p in prompts] if prefix else prompts


def _read_file(path: Path) -> list[Prompt]:
    if path.is_dir():
        raise UserError(f"{path} is a folder; --test_file must be a CSV or text file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"no caption file at {path}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if not text.strip():
        raise UserError(f"{path} is empty; it should hold captions")
    prompts = _from_lines(text) if path.suffix.lower() == ".txt" else _from_csv(text, path)
    if not prompts:
        raise UserError(f"{path} holds no captions")
    for prompt in prompts:
        if len(prompt.caption) > MAX_CAPTION:
            raise UserError(f"{path} has a caption of {len(prompt.caption)} characters: {prompt.caption[:40]!r}...")
    return prompts


def _from_lines(text: str) -> list[Prompt]:
    return [Prompt(_one_line(line)) for line in text.split("\n") if line.strip()]


def _from_csv(text: str, path: Path) -> list[Prompt]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    prompts = []
    try:
        columns = [(name or "").strip() for name in reader.fieldnames or []]
        if "caption" not in columns:
            raise UserError(f"{path} has no column caption; its columns are {', '.join(columns)}")
        reader.fieldnames = columns
        for row in reader:
            caption = _one_line(row["caption"] or "")
            if not caption:
                raise UserError(f"{path}, line {reader.line_num}: the caption is empty")
            if row.get(None):
                raise UserError(f"{path}, line {reader.line_num}: more values than columns; quote captions with commas")
            name = row.get("file_name") or row.get("audiocap_id") or ""  # the second one is AudioCaps' own list
            prompts.append(Prompt(caption, name.strip() or None))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    return prompts


def _one_line(text: str) -> str:
    return " ".join(text.split())
