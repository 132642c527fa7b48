"""The CSV of a folder of sounds, to train on: captions from the names of files and folders.

    python -m soundctm.training.table --audio_dir SOUNDS                     # writes SOUNDS/captions.csv

`dog_barking_01.wav` becomes "dog barking". A name that is only a number takes its folder's: `rain/003.wav` becomes
"rain". Read the table and correct it before training: the captions are what the model learns to understand.
"""

from __future__ import annotations

import csv
import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundctm.command import run_module
from soundctm.config import option
from soundctm.data.names import shown
from soundctm.errors import UserError
from soundctm.files import whole_file

logger = logging.getLogger(__name__)

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(frozen=True)
class TableOptions:
    """Options of the command."""

    audio_dir: str = option("", "folder of the sounds; folders in it are read too")
    output_file: str | None = option(None, "the CSV", unset="captions.csv in audio_dir")

    def __post_init__(self) -> None:
        if not self.audio_dir or not Path(self.audio_dir).is_dir():
            raise UserError(f"audio_dir is {self.audio_dir!r}; give the folder of the sounds")


def write_table(options: TableOptions) -> Path:
    """Write the CSV and return its path. Raises UserError for a folder without sounds and a CSV that is there."""
    root = Path(options.audio_dir)
    path = Path(options.output_file) if options.output_file else root / "captions.csv"
    if path.exists():
        raise UserError(f"{path} is there already; give another --output_file, or remove it")
    found = (file for file in root.rglob("*") if file.suffix.lower() in SOUNDS and file.is_file())
    sounds = sorted(sound for file in found if _can_be_listed(sound := file.relative_to(root)))
    if not sounds:
        raise UserError(f"no sound in {root}; it is read for {', '.join(SOUNDS)}")
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "caption"])
        writer.writerows([sound.as_posix(), caption_of(sound)] for sound in sounds)
    where = "" if path.parent.resolve() == root.resolve() else f" --audio_dir {root}"
    logger.info(
        "%d sounds in %s; correct the captions, then train with --train_file %s%s", len(sounds), path, path, where
    )
    return path


def caption_of(sound: Path) -> str:
    """A caption of words: the file's name without numbers, or that of the nearest folder that has words."""
    for part in (sound.stem, *reversed(sound.parts[:-1])):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part)  # DogBarking
        words = re.sub(r"[\W_]+", " ", words, flags=re.UNICODE)
        kept = " ".join(word for word in words.split() if not word.isdigit())
        if any(letter.isalpha() for letter in kept):
            return kept.lower()
    return "a sound"


def _can_be_listed(sound: Path) -> bool:
    if any(part.startswith((".", "__MACOSX")) for part in sound.parts):  # hidden, or left there by macOS
        return False
    name = sound.as_posix()
    if shown(name) != name or len(name.splitlines()) > 1:
        logger.warning("%s is left out: a table's names are UTF-8, on one line", "\\n".join(shown(name).splitlines()))
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table that the command line asks for. Returns the exit code."""
    return run_module("soundctm.training.table", __doc__, TableOptions, write_table, arguments)


if __name__ == "__main__":
    sys.exit(main())
