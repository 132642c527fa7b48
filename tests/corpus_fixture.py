"""A tiny corpus of synthetic sounds in the layout of a built one."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

COLUMNS = ("file_name", "caption", "label", "split", "group", "package", "yamnet_top3", "seconds", "source_rate")


def write_corpus(root: Path) -> Path:
    """Clips of a dog (events), typing (short clicks), rain (long noise), a piano (tone), and one test clip."""
    rng = np.random.default_rng(0)
    time = np.arange(16000) / 16000
    sounds = {
        "dog_0": np.sin(2 * np.pi * 500 * time[:6000]) * np.exp(-8 * time[:6000]),
        "typing_0": rng.standard_normal(1200) * np.exp(-60 * time[:1200]),
        "typing_1": rng.standard_normal(1600) * np.exp(-50 * time[:1600]),
        "rain_0": 0.1 * rng.standard_normal(80000),
        "piano_0": np.sin(2 * np.pi * 440 * time),
        "dog_1": np.sin(2 * np.pi * 600 * time[:5000]) * np.exp(-8 * time[:5000]),
    }
    (root / "clips").mkdir(parents=True)
    with (root / "corpus.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name, sound in sounds.items():
            label = name.split("_")[0]
            soundfile.write(root / f"clips/{name}.ogg", 0.5 * sound / np.abs(sound).max(), 16000)
            split = "test" if name == "dog_1" else "train"
            group = f"pkg/{label}" if label == "typing" else f"pkg/{name}"
            writer.writerow(
                [f"clips/{name}.ogg", f"a {label} sound", label, split, group, "pkg", "Animal|Dog"]
                + [len(sound) / 16000, 11025 if label == "piano" else 44100]
            )
    return root
