"""Training checkpoints that are whole or absent.

A checkpoint is a folder `checkpoint-00001234/` with `state.pt` (tensors and plain Python values, readable with
`torch.load(..., weights_only=True)`) and `meta.json` (step, size and CRC-32 of the state file). It is written under a
temporary name, flushed to disk and renamed, so a run killed at any moment leaves the last whole one in place.

Random states are not stored: every trainer derives its generators from (seed, step), which makes a resumed run exact.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from soundctm.errors import UserError

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d{8,})")
_STATE, _META = "state.pt", "meta.json"


class Checkpointer:
    """Writes, prunes and finds the checkpoints of one training run.

    Only the main process may call `save`; every process may call `latest` and `load`.
    """

    def __init__(self, output_dir: str | os.PathLike, keep_last: int = 2) -> None:
        """Keep the `keep_last` newest checkpoints below `output_dir`. Raises UserError if `keep_last` is below 1."""
        if keep_last < 1:
            raise UserError(f"keep_last is {keep_last}; at least one checkpoint must be kept")
        self.output_dir = Path(output_dir)
        self.keep_last = keep_last

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write `state` as the checkpoint of `step`, then remove the oldest ones beyond `keep_last`.

        `state` holds tensors, state dicts and plain Python values. A checkpoint of the same step is replaced.
        """
        self.output_dir.mkdir(parents=True, exist_ok=True)
        target = self.output_dir / f"checkpoint-{step:08d}"
        temporary = self.output_dir / f".{target.name}.tmp-{os.getpid()}"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        torch.save(dict(state), temporary / _STATE)
        meta = {"step": step, "bytes": (temporary / _STATE).stat().st_size, "crc32": _crc32(temporary / _STATE)}
        (temporary / _META).write_text(json.dumps(meta), encoding="utf-8")
        for path in (temporary / _STATE, temporary / _META, temporary):
            _fsync(path)
        if target.exists():
            shutil.rmtree(target)
        os.replace(temporary, target)
        _fsync(self.output_dir)
        self._prune()
        return target

    def latest(self, map_location: str | torch.device = "cpu") -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest whole checkpoint, or None. Broken ones are passed over with a warning."""
        for path in reversed(self.paths()):
            try:
                return self.load(path, map_location)
            except UserError as error:
                logger.warning("skipping a broken checkpoint: %s", error)
        return None

    def paths(self) -> list[Path]:
        """Checkpoint folders, oldest first, without looking inside; leftovers of killed runs are not listed."""
        if not self.output_dir.is_dir():
            return []
        found = [(int(m[1]), p) for p in self.output_dir.iterdir() if (m := _NAME.fullmatch(p.name))]
        return [path for _, path in sorted(found)]

    @staticmethod
    def load(path: str | os.PathLike, map_location: str | torch.device = "cpu") -> tuple[int, dict[str, Any]]:
        """(step, state) of one checkpoint folder. Raises UserError if it is absent, partial or damaged."""
        path = Path(path)
        try:
            meta = json.loads((path / _META).read_text(encoding="utf-8"))
            step, size, crc32 = int(meta["step"]), meta["bytes"], meta["crc32"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a whole checkpoint: {_META} cannot be read ({error})") from error
        state = path / _STATE
        if not state.is_file() or state.stat().st_size != size or _crc32(state) != crc32:
            raise UserError(f"{path} is not a whole checkpoint: {_STATE} differs from what {_META} says")
        return step, torch.load(state, map_location=map_location, weights_only=True)

    def resume(self, choice: str | None, map_location: str | torch.device = "cpu") -> tuple[int, dict[str, Any]] | None:
        """What `--resume_from_checkpoint` names: None or "" (start afresh), "latest", or a checkpoint folder.

        "latest" without any checkpoint starts afresh, so that one command line serves the first and every later start.
        """
        if not choice:
            return None
        return self.latest(map_location) if choice == "latest" else self.load(choice, map_location)

    def _prune(self) -> None:
        for path in self.paths()[: -self.keep_last]:
            shutil.rmtree(path)
        for path in self.output_dir.glob(".checkpoint-*.tmp-*"):
            shutil.rmtree(path, ignore_errors=True)


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
