"""A sound of the history, and what the page is told of it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from soundctm.data.names import shown
from soundctm.errors import UserError
from soundctm.files.reading import parse_json
from soundctm.inference.manifest import Entry

EDITS = {  # options of a steered clip -> what the edit is called
    "inpaint": "inpaint",
    "extend_before": "extend",
    "extend_after": "extend",
    "bands": "bands",
    "strength": "vary",
}
SHOWN = 2000  # characters of a text that the page gets


@dataclass(frozen=True)
class Item:
    """A file of the folder, by its name there; its line in the manifest, unless it is the user's own; its marks."""

    file: str
    made: float  # seconds since 1970
    entry: Entry | None = None
    starred: bool = False
    parent: str | None = None  # the file that it was made from

    @property
    def id(self) -> str:
        """Names the sound in addresses: of the letters 0-9 and a-f, the same as long as the file has its name."""
        return id_of(self.file)

    @property
    def caption(self) -> str:
        """What was asked for; an own sound's name."""
        return self.entry.caption if self.entry else Path(self.file).stem

    def matches(self, words: list[str]) -> bool:
        """Whether every word, in small letters, stands in the caption, the name, the model's name or the settings."""
        entry = self.entry
        told = [self.file, self.caption] + (
            [entry.seed, entry.checkpoint, entry.sampler, entry.steering] if entry else []
        )
        text = "\n".join(told).casefold()
        return all(word in text for word in words)

    def to_json(self) -> dict[str, Any]:
        """For the page. Numbers that a JavaScript number cannot hold are texts."""
        found: dict[str, Any] = {
            "id": self.id,
            "file": _text(self.file),
            "kind": "made" if self.entry else "own",
            "caption": _text(self.caption),
            "starred": self.starred,
            "made": datetime.fromtimestamp(self.made, UTC).isoformat(timespec="milliseconds"),
            "parent": id_of(self.parent) if self.parent else None,
            "audio": f"/studio/history/{self.id}/audio",
        }
        if self.entry is None:
            return found
        entry, steering = self.entry, steering_of(self.entry)
        return found | {
            "seed": _text(entry.chosen_seed or entry.seed),
            "steps": _number(entry.steps),
            "sampler": _text(entry.sampler),
            "omega": _text(entry.omega),
            "nu": _number(entry.nu),
            "gamma": _number(entry.gamma),
            "seconds": _number(entry.seconds),
            "asked_seconds": _number(entry.target_length),
            "generation_seconds": _number(entry.generation_seconds),
            "model": _text(entry.checkpoint),
            "negative_prompt": _text(str(steering.get("negative_prompt") or "")),
            "operation": operation_of(steering),
            "control": _text(str(steering.get("control") or "")),
            "loop": bool(steering.get("loop")),
        }


@functools.lru_cache(maxsize=1 << 16)
def id_of(file: str) -> str:
    """The id of the sound with that name."""
    return hashlib.sha256(file.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def steering_of(entry: Entry) -> Mapping[str, Any]:
    """What steered the clip; nothing where the cell is none of ours."""
    try:
        return parse_json(entry.steering, "the column steering") if entry.steering else {}
    except UserError:
        return {}


def operation_of(steering: Mapping[str, Any]) -> str:
    """ "inpaint", "extend", "bands", "vary", "loop", or "generate"."""
    named = next((name for option, name in EDITS.items() if steering.get(option) is not None), None)
    return named or ("loop" if steering.get("loop") and steering.get("init_audio") else "generate")


def _text(text: str) -> str:
    return shown(text)[:SHOWN]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e300 else None
