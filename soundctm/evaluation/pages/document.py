"""A page of HTML in one file: text, tables, pictures and players, without scripts and without anything from outside.

Every string is escaped unless it is `Html`, which only the functions here make. The page's content security policy
forbids the browser to load anything but the data in the page. Where a screen is narrow (a phone), each row of a table
becomes a block of its own, with the name of its column above every cell.
"""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Iterable, Sequence

from soundctm.data.names import shown
from soundctm.evaluation.pages.sounds import NamedSound, opus_bytes
from soundctm.files import write_whole

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --line: #c8c8c8; --soft: #f3f3f3; --faint: #666 }
@media (prefers-color-scheme: dark) { :root { --line: #4a4a4a; --soft: #262626; --faint: #a0a0a0 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, p, li, th { overflow-wrap: break-word }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top }
th { background: var(--soft) }
img { max-width: 100%; background: white }
audio { display: block; width: 16rem; max-width: 100%; height: 2.2rem; margin-top: .3rem }
.name { color: var(--faint); font-size: .85rem; overflow-wrap: anywhere }
@media (max-width: 48rem) {
  body { margin: 1rem auto }
  h1 { font-size: 1.5rem; line-height: 1.25 }
  thead { display: none }
  tbody, tr, th, td { display: block }
  tr { border: 1px solid var(--line); margin-bottom: 1rem }
  th, td { border: 0; overflow-wrap: anywhere }
  td:empty { display: none }
  td::before { content: attr(data-column); display: block; color: var(--faint); font-size: .85rem }
  td img, td audio { display: block; width: 100%; height: auto }
  td audio { height: 2.6rem }
}
"""


class Html(str):
    """Markup, inserted as it is."""


def markup(value: object) -> Html:
    """`value` itself if it is Html, else its text, escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def joined(*parts: object) -> Html:
    """Several pieces one after the other."""
    return Html("".join(markup(part) for part in parts))


def heading(text: str) -> Html:
    return Html(f"<h2>{markup(text)}</h2>\n")


def paragraph(*parts: object) -> Html:
    return Html(f"<p>{joined(*parts)}</p>\n")


def faint(text: str) -> Html:
    """A small line, for names of files."""
    return Html(f'<div class="name">{markup(text)}</div>')


def bullets(items: Iterable[object]) -> Html:
    return Html("<ul>" + "".join(f"<li>{markup(item)}</li>" for item in items) + "</ul>\n")


def table(columns: Sequence[object], rows: Iterable[Sequence[object]], row_headings: bool = False) -> Html:
    """A table; cells are text or Html. With `row_headings` the first cell of a row says what the row is about.

    Raises ValueError for a row of another width than the header.
    """
    lines = ["<table>\n<thead>", _row([_cell("th", column) for column in columns]), "</thead>\n<tbody>"]
    names = [html.unescape(re.sub("<[^>]*>", "", markup(column))) for column in columns]
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells for {len(columns)} columns")
        cells = [_cell("td", cell, name) for cell, name in zip(row, names, strict=True)]
        if row_headings and cells:
            cells[0] = _cell("th", row[0])
        lines.append(_row(cells))
    return Html("\n".join([*lines, "</tbody>\n</table>\n"]))


def picture(png: bytes, text: str, width: int | None = None) -> Html:
    """An embedded PNG; `text` is what it shows, for those who do not see it. `width` in CSS pixels."""
    size = "" if width is None else f' width="{width}"'
    return Html(f'<img src="{_data_uri("image/png", png)}" alt="{html.escape(text)}"{size}>')


def player(sound: NamedSound) -> Html:
    """An embedded player of `sound`, as Ogg Opus."""
    source = _data_uri("audio/ogg", opus_bytes(sound))
    return Html(f'<audio controls preload="none" title="{html.escape(sound.name)}" src="{source}"></audio>')


def page(title: str, *sections: Html) -> str:
    """The whole document."""
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{markup(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
    )
    return f"{head}<body>\n<h1>{markup(title)}</h1>\n{joined(*sections)}</body>\n</html>\n"


def save_page(path: str | os.PathLike, title: str, *sections: Html) -> None:
    """Write `page` to `path`. Raises UserError when that fails."""
    write_whole(path, shown(page(title, *sections)))


def _row(cells: Sequence[str]) -> str:
    return "<tr>" + "".join(cells) + "</tr>"


def _cell(tag: str, content: object, column: str | None = None) -> str:
    """One cell; `column` is what stands above it on a narrow screen."""
    label = "" if column is None else f' data-column="{html.escape(column)}"'
    return f"<{tag}{label}>{markup(content)}</{tag}>"


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
