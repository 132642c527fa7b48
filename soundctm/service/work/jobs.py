"""A job: what was asked for, how far it is, and the clips that are there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from soundctm.files.sounds import sound_bytes

if TYPE_CHECKING:
    from soundctm.service.work.wanted import Wanted

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
OVER = (DONE, FAILED, CANCELLED)
SUBTYPES = {16: "16", 24: "24", 32: "float"}


@dataclass
class Clip:
    """A sound that was made: float32 [samples] in [-1, 1] at `rate` Hz, the seed that makes it again."""

    audio: np.ndarray
    rate: int
    seed: int
    warnings: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)  # what the hooks of `Desk.on_clip` added

    @property
    def seconds(self) -> float:
        return len(self.audio) / self.rate

    @property
    def peak(self) -> float:
        return float(np.abs(self.audio).max(initial=0.0))

    def content(self, kind: str = "wav", bits: int = 16) -> bytes:
        """The sound file. Raises UserError for bits that `kind` ("wav" or "flac") does not have."""
        return sound_bytes(self.audio, self.rate, f".{kind}", SUBTYPES[bits])


@dataclass
class Job:
    """One request at the desk. The desk's thread changes it; others read, and hear of changes by `listeners`."""

    wanted: Wanted
    seeds: list[int]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    created: float = field(default_factory=time.monotonic)
    status: str = WAITING
    progress: float = 0.0
    position: int | None = None  # clips before it in the queue
    error: str | None = None
    code: int = 500  # of the HTTP answer, where it failed
    clips: dict[int, Clip] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)  # clips that wait
    finished: float | None = None
    listeners: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pending = list(range(len(self.seeds)))

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return sum(clip.audio.nbytes for clip in list(self.clips.values())) + self.wanted.size

    def changed(self) -> None:
        """Tell those who listen; from any thread."""
        for listener in list(self.listeners):
            listener()

    def clip_json(self, index: int) -> dict[str, Any]:
        """A clip as the API has it."""
        clip = self.clips[index]
        return {
            "index": index,
            "seed": clip.seed,
            "seconds": round(clip.seconds, 4),
            "sampling_rate": clip.rate,
            "peak": round(clip.peak, 6),
            "url": f"/v1/jobs/{self.id}/clips/{index}",
            "warnings": clip.warnings,
            **clip.extra,
        }

    def to_json(self) -> dict[str, Any]:
        """The job as the API has it."""
        return {
            "id": self.id,
            "status": self.status,
            "progress": round(self.progress, 3),
            "position": self.position if self.status == WAITING else None,
            "error": self.error,
            "request": self.wanted.to_json() | {"seed": self.seeds[0]},
            "seeds": self.seeds,
            "clips": [self.clip_json(index) for index in sorted(self.clips)],
        }
