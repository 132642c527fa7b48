"""Folders of synthetic clips, and a feature extractor that needs no weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from soundctm.evaluation.extractors import registry
from soundctm.evaluation.extractors.base import Features
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.extractors.weights import sha256

RATE = 16_000
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def sound(number: int, take: int = 0, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """A decaying chord, chirp or burst of noise, [n]: its kind and pitch by `number`, its details by `take`."""
    rng = np.random.default_rng([number, take])
    time = np.arange(round(seconds * rate)) / rate
    pitch = 150 * 1.12 ** (number % 24) * rng.uniform(0.97, 1.03)
    if number % 3 == 0:
        wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
    elif number % 3 == 1:
        wave = np.sin(2 * np.pi * pitch * time * (1 + rng.uniform(0.2, 0.6) * time))
    else:
        wave = np.convolve(rng.standard_normal(len(time)), np.hanning(9), mode="same")
    wave = wave * np.exp(-time * rng.uniform(0.5, 4))
    return (0.4 * wave / np.abs(wave).max()).astype(np.float32)


def write_folder(folder: Path, count: int, take: int = 0, change: Change | None = None, **settings) -> Path:
    """`count` wavs c00.wav, c01.wav, ... of `sound`, each put through `change(sound, generator)`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        wave = sound(number, take, **settings)
        if change is not None:
            wave = change(wave, np.random.default_rng([7, number]))
        soundfile.write(folder / f"c{number:02d}.wav", wave, settings.get("rate", RATE))
    return folder


class SpectrumExtractor:
    """An `Extractor`: log-spectra of quarter seconds (`pooled`: their mean) in 16 bands, and as many classes.

    Counts the clips that it saw, and embeds texts, too.
    """

    def __init__(
        self, name: str = "spectrum", sampling_rate: int = 8000, weights_hash: str = "0" * 64, pooled: bool = False
    ):
        self.pooled = pooled
        self.name, self.sampling_rate, self.weights_hash = name, sampling_rate, weights_hash
        self.reading = Reading(sampling_rate)
        self.dim, self.class_names = 16, [f"class {i}" for i in range(16)]
        self.seen = 0

    def __call__(self, waveforms: Sequence[Tensor]) -> list[Features]:
        self.seen += len(waveforms)
        return [self._features(waveform) for waveform in waveforms]

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([torch.full((self.dim,), 1.0 + len(text)) for text in texts])

    def _features(self, waveform: Tensor) -> Features:
        frame = self.sampling_rate // 4 // 32 * 32
        missing = -len(waveform) % frame
        frames = torch.nn.functional.pad(waveform, (0, missing)).reshape(-1, frame)
        bands = torch.fft.rfft(frames).abs()[:, 1:].reshape(len(frames), self.dim, -1).mean(2)
        embeddings = (bands + 1e-3).log()
        if self.pooled:
            embeddings = embeddings.mean(0, keepdim=True)
        return Features(embeddings, 2 * embeddings.mean(0))


def register(monkeypatch, folder: Path, extractors: dict[str, Callable[..., SpectrumExtractor]]) -> None:
    """Make the registry know `extractors` too (name -> what builds one, given its weights' hash).

    Their weights are a file in `folder`. All but `clap` are said to have logits.
    """
    weights = folder / "weights"
    weights.write_text("weights")
    for name, build in extractors.items():
        entry = registry.Entry(
            name=name,
            title=name.capitalize(),
            sampling_rate=8000,
            dim=16,
            classes=0 if name == "clap" else 16,
            purpose="tests",
            weights=str(weights),
            files=lambda path: [weights],
            load=lambda path, device, build=build: build(weights_hash=sha256([weights])),
        )
        monkeypatch.setitem(registry.ENTRIES, name, entry)
