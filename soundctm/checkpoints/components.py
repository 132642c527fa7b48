"""What a checkpoint holds, whichever layout it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from soundctm.codecs import Codec
from soundctm.defaults import Defaults
from soundctm.errors import UserError
from soundctm.networks import Network
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder

NETWORKS = (
    "ema",  # average of the student over training: what sounds best
    "student",  # the trained network itself
    "teacher",
)


@dataclass
class Components:
    """The parts of a model; a part that was not there or not asked for is None."""

    ema: Network | None = None
    student: Network | None = None
    teacher: Network | None = None
    codec: Codec | None = None
    text_encoder: TextEncoder | None = None
    schedule: SigmaSchedule = field(default_factory=SigmaSchedule)
    sampling: Defaults = field(default_factory=Defaults)
    training_config: Mapping[str, Any] | None = None
    text_stored: bool = False  # did the checkpoint hold the text encoder's weights?
    card: str | None = None  # its model card

    def network(self, weights: str) -> Network:
        """The network called "ema", "student" or "teacher". Raises UserError when it is absent."""
        network = getattr(self, weights) if weights in NETWORKS else None
        if network is None:
            present = ", ".join(name for name, _ in self.networks()) or "none"
            raise UserError(f"there are no {weights!r} weights in this checkpoint; loaded are: {present}")
        return network

    def networks(self) -> Iterator[tuple[str, Network]]:
        """(name, network) of every network that is present."""
        for name in NETWORKS:
            if getattr(self, name) is not None:
                yield name, getattr(self, name)
