"""Real clips to compare with: items of 2.56 s from the test split of the corpus, with the captions to generate from.

    python -m soundctm.evaluation.models.reference_clips --corpus data/corpus --output_dir outputs/reference
    python ctm_inference.py --test_file data/test_captions.csv --output_dir outputs/test_clips

`data/test_captions.csv` says which items: file name, caption, label and the clip of the corpus that it is made of.
`--choose 100` writes it anew: labels in turn, and within a label its recordings in turn, so that the hundreds of
variants of one recording weigh no more than others.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from soundctm.command import Parser, exit_code
from soundctm.data.audio import SAMPLING_RATE
from soundctm.data.compose import ComposedCorpus
from soundctm.data.corpus import DATA_FOLDER, CorpusRow, load_corpus
from soundctm.data.tables import read_captions
from soundctm.errors import UserError, quoted
from soundctm.evaluation.folders.clips import SUFFIXES
from soundctm.files import ensure_writable, inside, write_whole
from soundctm.files.sounds import write_sound

log = logging.getLogger(__name__)

COLUMNS = ("file_name", "caption", "label", "clip")
TABLE = DATA_FOLDER / "test_captions.csv"
MOST_ITEMS = 100_000
ITEM = 0  # of each clip; another number places the same clip differently


@dataclass(frozen=True)
class ReferenceClip:
    """One line of the table; `clip` is the file of the corpus that is heard."""

    file_name: str
    caption: str
    label: str
    clip: str


def corpus_items(corpus: str | os.PathLike) -> ComposedCorpus:
    """Items of the test split, at their own pitch. Raises UserError when the corpus is absent."""
    return ComposedCorpus(load_corpus(corpus, "test"), corpus, speed_changes=False)


def choose(items: ComposedCorpus, count: int) -> list[ReferenceClip]:
    """`count` items, labels and within a label recordings in turn. Raises UserError when there are fewer clips."""
    if not 1 <= count <= MOST_ITEMS:
        raise UserError(f"--choose is {quoted(count)}; it must be a whole number from 1 to {MOST_ITEMS}")
    chosen = list(itertools.islice(_in_turn(_by_group(rows) for rows in items.labels.values()), count))
    if len(chosen) < count:
        raise UserError(f"the test split holds {len(chosen)} clips, fewer than {count}")
    numbers: dict[str, int] = {}
    table = []
    for row in chosen:
        number = numbers[row.label] = numbers.get(row.label, -1) + 1
        name = f"{re.sub(r'[^a-z0-9]+', '_', row.label.lower())}_{number:02d}.wav"
        table.append(ReferenceClip(name, items.from_row(row, ITEM)[1], row.label, row.file_name))
    return table


def read_table(path: str | os.PathLike) -> list[ReferenceClip]:
    """Raises UserError for an absent table and as `read_captions`."""
    if not Path(path).is_file():
        raise UserError(f"no table of reference clips at {path}; --choose N writes one")
    return [ReferenceClip(**{name: row.cells[name] for name in COLUMNS}) for row in read_captions(path, COLUMNS)]


def write_table(path: str | os.PathLike, table: Iterable[ReferenceClip]) -> None:
    """The table as CSV, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([clip.file_name, clip.caption, clip.label, clip.clip] for clip in table)
    write_whole(path, text.getvalue())


def write_clips(items: ComposedCorpus, table: Sequence[ReferenceClip], folder: str | os.PathLike) -> int:
    """Write the items of `table` as 16-bit wavs; returns how many, which is fewer where the corpus lacks clips.

    Raises UserError when the folder holds other sound files, for names that lead out of it, and when the corpus holds
    none of the clips.
    """
    folder = Path(folder)
    ensure_writable(folder)
    paths = {clip.file_name: inside(folder, clip.file_name, "the table of reference clips") for clip in table}
    foreign = sorted(path.name for path in folder.iterdir() if path.name.lower().endswith(SUFFIXES))
    foreign = [name for name in foreign if name not in paths]
    if foreign:
        raise UserError(f"{folder} holds other sounds ({foreign[0]}), which would count; give another --output_dir")
    rows = {row.file_name: row for rows in items.labels.values() for row in rows}
    present = [clip for clip in table if clip.clip in rows]
    if not present:
        raise UserError("the corpus holds none of the clips of the table; was it built from other packages?")
    for clip in tqdm(present, "reference", unit="clip"):
        waveform, _, _ = items.from_row(rows[clip.clip], ITEM)
        write_sound(paths[clip.file_name], waveform.numpy(), SAMPLING_RATE)
    return len(present)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 for wrong use."""
    parser = Parser(
        prog="python -m soundctm.evaluation.models.reference_clips",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--corpus", default="data/corpus", help="a built corpus folder")
    parser.add_argument("--output_dir", default="outputs/reference", help="folder of the wavs")
    parser.add_argument("--captions", default=str(TABLE), help="the table of items")
    parser.add_argument("--choose", type=int, metavar="N", help="first write the table anew, with N items")
    args = parser.parse_args(arguments)

    def act() -> None:
        items = corpus_items(args.corpus)
        if args.choose is not None:
            write_table(args.captions, choose(items, args.choose))
        table = read_table(args.captions)
        count = write_clips(items, table, args.output_dir)
        log.info("%d of %d real clips in %s", count, len(table), args.output_dir)

    return exit_code(act)


def _by_group(rows: Sequence[CorpusRow]) -> Iterable[CorpusRow]:
    groups: dict[str, list[CorpusRow]] = {}
    for row in sorted(rows, key=lambda row: row.file_name):
        groups.setdefault(row.group, []).append(row)
    return _in_turn(groups.values())


def _in_turn(lists: Iterable[Iterable[CorpusRow]]) -> Iterable[CorpusRow]:
    """The first of every list, then the second of every list, ..."""
    for together in itertools.zip_longest(*lists):
        yield from (row for row in together if row is not None)


if __name__ == "__main__":
    sys.exit(main())
