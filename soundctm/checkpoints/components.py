"""What a checkpoint holds, whichever layout it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from audioldm.codec import AudioLDMCodec
from soundctm.defaults import Defaults
from soundctm.errors import UserError
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder

NETWORKS: dict[str, type[StudentUNet] | type[TeacherUNet]] = {
    "ema": StudentUNet,  # average of the student over training: what sounds best
    "student": StudentUNet,  # the trained network itself
    "teacher": TeacherUNet,
}


@dataclass
class Components:
    """The parts of a model; a part that was not there or not asked for is None."""

    ema: StudentUNet | None = None
    student: StudentUNet | None = None
    teacher: TeacherUNet | None = None
    codec: AudioLDMCodec | None = None
    text_encoder: TextEncoder | None = None
    schedule: SigmaSchedule = field(default_factory=SigmaSchedule)
    sampling: Defaults = field(default_factory=Defaults)
    training_config: Mapping[str, Any] | None = None

    def network(self, weights: str) -> StudentUNet | TeacherUNet:
        """The network called "ema", "student" or "teacher". Raises UserError when it is absent."""
        unet = getattr(self, weights) if weights in NETWORKS else None
        if unet is None:
            present = ", ".join(name for name, _ in self.networks()) or "none"
            raise UserError(f"there are no {weights!r} weights in this checkpoint; loaded are: {present}")
        return unet

    def networks(self) -> Iterator[tuple[str, StudentUNet | TeacherUNet]]:
        """(name, network) of every network that is present."""
        for name in NETWORKS:
            if getattr(self, name) is not None:
                yield name, getattr(self, name)
