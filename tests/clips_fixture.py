"""A CSV of one's own sounds with everything that can be wrong with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

GOOD = 8


def write_clips(folder: Path, seconds: float = 0.64) -> Path:
    """`train.csv` with 8 good rows in folder/audio, then a corrupt, a missing, a silent, a short and a double one."""
    audio, rng = folder / "audio", np.random.default_rng(0)
    audio.mkdir(parents=True)
    rows = []
    for i in range(GOOD):
        time = np.arange(round((0.5 + 0.1 * i) * seconds * 16000)) / 16000
        sound = 0.3 * np.sin(2 * np.pi * 200 * (i + 1) * time) + 0.01 * rng.standard_normal(len(time))
        soundfile.write(audio / f"{i}.wav", sound, 16000)
        rows.append((f"{i}.wav", f"Tone number {i}"))
    (audio / "corrupt.wav").write_bytes((audio / "0.wav").read_bytes()[:30])
    soundfile.write(audio / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(audio / "short.wav", 0.1 * rng.standard_normal(800), 16000)
    (audio / "copy.wav").write_bytes((audio / "1.wav").read_bytes())
    rows += [("corrupt.wav", "A broken file"), ("missing.wav", "No file"), ("silent.wav", "Nothing")]
    rows += [("short.wav", "A click"), ("2.wav", "Tone number 2"), ("copy.wav", "The same again")]
    lines = ["file_name,caption", *(f"{name},{caption}" for name, caption in rows)]
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder / "train.csv"


def write_good_clips(folder: Path, seconds: float = 0.64) -> Path:
    """Only the good rows, as `good.csv`."""
    table = write_clips(folder, seconds)
    good = table.with_name("good.csv")
    good.write_text("\n".join(table.read_text().splitlines()[: 1 + GOOD]) + "\n")
    return good
