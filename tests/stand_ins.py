"""What a reader of the docs has and a fresh clone lacks: own sounds, and a corpus built from 3.4 GB of packages.

The corpus has every row of data/corpus.csv, with a short tone per label in the place of its recording.
"""

from __future__ import annotations

import csv
import zlib
from pathlib import Path

import numpy as np
import soundfile

OWN = ("dog_barking", "a_bell", "rain", "old_door", "footsteps")
RATE = 16000


def tone(label: str, take: int, seconds: float) -> np.ndarray:
    """A sound of its label, a little different in every take."""
    rng = np.random.default_rng([zlib.crc32(label.encode()), take])
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = 200 + zlib.crc32(label.encode()) % 3000
    return 0.3 * np.sin(2 * np.pi * pitch * time) * np.exp(-2 * time) + 0.02 * rng.standard_normal(len(time))


def write_corpus(root: Path, table: Path) -> None:
    """A built corpus at `root` out of the repository's `table`."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        path = root / row["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        row["seconds"] = min(float(row["seconds"]), 0.5)
        soundfile.write(path, tone(row["label"], number, row["seconds"]), RATE)
    with (root / "corpus.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_own(root: Path) -> None:
    """Below `root`, the files and folders that commands of the docs name as the reader's."""
    for number, folder in enumerate(("real", "made", "REAL", "MADE", "audiocaps/test", "SOUNDS", "AUDIO")):
        (root / folder).mkdir(parents=True)
        for take in range(12 if folder not in ("SOUNDS", "AUDIO") else 10):
            name = f"{OWN[take % len(OWN)]}_{take:02d}.wav"
            soundfile.write(root / folder / name, tone(name, number, 1.0), RATE)
    table = "".join(f"{path.name},{path.stem.replace('_', ' ')}\n" for path in sorted((root / "AUDIO").iterdir()))
    for name in ("train.csv", "val.csv", "captions.csv", "clap_test.csv"):
        (root / name).write_text(f"file_name,caption\n{table}")
    for name in ("dog.wav", "rain.wav", "old.wav"):
        soundfile.write(root / name, tone(name, 0, 2.56), RATE)
