"""Everything that is read as text: plain text, JSON, JSON lines, YAML and tables (CSV), with limits.

Whoever made such a file need not be trusted: sizes, depths and repetitions are limited before anything grows, and what
is wrong is one sentence (UserError) that names the file and, where there is one, the line.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from soundctm.errors import UserError

MOST_BYTES = 16 * 2**20  # of a configuration or an index
MOST_TABLE_BYTES = 512 * 2**20  # of a table or a log
MOST_DEPTH = 50  # lists and mappings within each other
MOST_CELL = 65536  # characters of a cell of a table
LFS = "version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Row:
    """A row of a table: its line in the file, counted from 1, and its cells by column."""

    line: int
    cells: dict[str, str]


def read_text(path: str | os.PathLike, limit: int = MOST_BYTES, strict: bool = True) -> str:
    """The text of a file: UTF-8, with or without a byte order mark. Line breaks are as in the file.

    Unless `strict`, bytes that are no UTF-8 are kept as paths have them (surrogateescape): for files of ours.

    Raises UserError when there is no such file, when it is none (a folder, a device, a pipe), longer than `limit`
    bytes, not UTF-8, or when a Git LFS pointer stands in its place.
    """
    path = Path(path)
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            raise UserError(f"{path} is {'a folder' if stat.S_ISDIR(kind) else 'no plain file'}")
        with open(path, "rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > limit:
        raise UserError(f"{path} is longer than {limit} bytes, the most that is read of such a file")
    try:
        text = content.decode("utf-8-sig", "strict" if strict else "surrogateescape")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: it is not UTF-8 text; save it as UTF-8") from error
    if text.startswith(LFS):
        raise UserError(f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")
    return text


def read_json(path: str | os.PathLike, kind: type | None = dict, limit: int = MOST_BYTES) -> Any:
    """The JSON value of a file, which must be of `kind` (None: any). Raises UserError."""
    return parse_json(read_text(path, limit), str(path), kind)


def parse_json(text: str, place: str, kind: type | None = dict) -> Any:
    """The JSON value of `text`, which came from `place`, of `kind` (None: any).

    A key that stands twice, NaN, infinities, and nesting beyond MOST_DEPTH are refused. Raises UserError.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise UserError(f"{place} is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{place} is not valid JSON: {_one_line(error)}") from error
    _check_characters(value, text, place)
    return _checked(value, place, kind)


def read_json_lines(path: str | os.PathLike, kind: type | None = dict) -> Iterator[tuple[int, Any]]:
    """(line number, value) of every line that is not empty. Raises UserError, naming the line."""
    for number, line in enumerate(read_text(path, MOST_TABLE_BYTES).splitlines(), 1):
        if line.strip():
            yield number, parse_json(line, f"{path}, line {number}", kind)


def read_yaml(path: str | os.PathLike, kind: type | None = dict) -> Any:
    """The YAML value of a file, of `kind` (None: any); an empty file is an empty `kind`.

    Plain values, lists and mappings only; aliases, keys that stand twice and nesting beyond MOST_DEPTH are refused.
    Raises UserError.
    """
    return parse_yaml(read_text(path), str(path), kind)


def parse_yaml(text: str, place: str, kind: type | None = dict) -> Any:
    """The YAML value of `text`, which came from `place`; see `read_yaml`."""
    try:
        value = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{place} is not valid YAML: {_one_line(error)}") from error
    except (KeyError, AttributeError, IndexError, TypeError) as error:  # `!!bool maybe` and the like
        raise UserError(f"{place} is not valid YAML: a value is none of the kind that its tag names") from error
    _check_characters(value, text, place)
    if value is None and kind is not None:
        return kind()
    return _checked(value, place, kind)


def read_rows(
    path: str | os.PathLike, required: Sequence[str] = (), allow_empty: bool = False
) -> tuple[list[str], list[Row]]:
    """Columns and rows of a CSV file whose first line names the columns. Empty lines are passed over.

    A row stands on one line; a cell with a comma stands in double quotes, before which there may be spaces. Cells keep
    the spaces they have. Raises UserError for a missing or doubled column, a row with too few or too many cells, a
    quote that is not closed on its line, a cell of more than MOST_CELL characters, and, without `allow_empty`, a table
    without rows.
    """
    columns: list[str] = []
    rows: list[Row] = []
    text = read_text(path, MOST_TABLE_BYTES)
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        cells = _cells(line, place)
        if not columns:
            columns = [cell.strip() for cell in cells]
            _check_columns(columns, required, path)
            continue
        if len(cells) != len(columns):
            raise UserError(
                f"{place} has {len(cells)} cells where the first line names {len(columns)} ({_listed(columns)}); "
                "a cell with a comma stands in double quotes"
            )
        rows.append(Row(number, dict(zip(columns, cells, strict=True))))
    if not columns:
        raise UserError(f"{path} is empty; its first line names the columns" + _wanted(required))
    if not rows and not allow_empty:
        raise UserError(f"{path} has no rows below its first line")
    return columns, rows


def read_fields(text: str, place: str) -> list[list[str]]:
    """The rows of a CSV text that this code wrote, in which a cell may have line breaks. Raises UserError."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise UserError(f"{place} is no table: {error}") from error
    return [row for row in rows if row]


def _cells(line: str, place: str) -> list[str]:
    if len(line) > MOST_CELL and max(map(len, line.split(","))) > MOST_CELL:
        raise UserError(f"{place}: a cell has more than {MOST_CELL} characters")
    if "\0" in line:
        raise UserError(f"{place}: there is a NUL character")
    cells = _parsed(line, place, False)
    if any(cell.lstrip().startswith('"') and cell[0] != '"' for cell in cells):
        # `a.wav, "x, y"`: quotes after spaces. Spaces that begin the line belong to its first cell all the same.
        lead = line[: len(line) - len(line.lstrip(" "))]
        again = _parsed(line, place, True)
        quoted = line.lstrip(" ").startswith('"')
        cells = [again[0] if quoted else lead + again[0], *again[1:]]
    return cells


def _parsed(line: str, place: str, spaces: bool) -> list[str]:
    try:
        return next(csv.reader([line], strict=True, skipinitialspace=spaces))
    except csv.Error as error:
        problem = "a quote is opened and not closed on this line" if "unexpected end" in str(error) else str(error)
        raise UserError(
            f'{place}: {problem}; a row stands on one line, and a quote within quotes is doubled ("")'
        ) from error


def _check_columns(columns: Sequence[str], required: Sequence[str], path: str | os.PathLike) -> None:
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    if doubled:
        raise UserError(f"{path}: the column {doubled[0][:80]!r} stands twice in the first line")
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(
            f"{path} has no column {missing[0]!r}; its first line names {_listed(columns)}{_wanted(required)}"
        )


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 300 else text[:297] + "..."


def _wanted(required: Sequence[str]) -> str:
    return f", and must name {', '.join(required)}" if required else ""


def _checked(value: Any, place: str, kind: type | None) -> Any:
    if kind is not None and not isinstance(value, kind):
        wanted = {dict: "`key: value` pairs", list: "a list"}.get(kind, f"a {kind.__name__}")
        raise UserError(f"{place} must hold {wanted}, not {type(value).__name__}")
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [item for held in level for item in _held(held)]
        if not level:
            return value
    raise UserError(f"{place} is nested more than {MOST_DEPTH} deep")


def _held(value: Any) -> list:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in values if isinstance(item, dict | list)]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(n for n in names if names.count(n) > 1)[:80]!r} stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _check_characters(value: Any, text: str, place: str) -> None:
    """An escaped surrogate without its other half can be neither printed nor stored."""
    if not re.search(r"\\u[dD][89a-fA-F]", text):
        return
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            try:
                item.encode("utf-8")
            except UnicodeEncodeError as error:
                raise UserError(f"{place}: an escape (\\u) stands for half a character") from error
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, doubled keys and depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not read", event.start_mark)
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"nested more than {MOST_DEPTH} deep", self.peek_event().start_mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return found
