"""Training checkpoints that are whole or absent.

A checkpoint is a folder `checkpoint-00001234/` with `state.pt` (tensors and plain Python values, readable with
`torch.load(..., weights_only=True)`) and `meta.json` (step, size and CRC-32 of the state file, validation score). It is
written under a temporary name, flushed to disk and renamed, so a run killed at any moment leaves the last whole one in
place, and so does a full disk.

Random states are not stored: every trainer derives its generators from (seed, step), which makes a resumed run exact.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from soundctm.errors import UserError
from soundctm.training.running import disk

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d{8,})")
_STATE, _META = "state.pt", "meta.json"


class Checkpointer:
    """Writes, prunes and finds the checkpoints of one training run.

    Only the main process may call `save`; every process may call `latest` and `load`.
    """

    def __init__(self, output_dir: str | os.PathLike, keep_last: int = 2, keep_best: bool = False) -> None:
        """Keep the `keep_last` newest checkpoints below `output_dir`, and the one with the lowest score if wished.

        Raises UserError if `keep_last` is below 1.
        """
        if keep_last < 1:
            raise UserError(f"keep_last is {keep_last}; at least one checkpoint must be kept")
        self.output_dir = Path(output_dir)
        self.keep_last, self.keep_best = keep_last, keep_best

    def save(self, step: int, state: Mapping[str, Any], score: float | None = None) -> Path:
        """Write `state` as the checkpoint of `step`, then remove the oldest ones beyond what is to be kept.

        `state` holds tensors, state dicts and plain Python values. A checkpoint of the same step is replaced. `score`
        is a validation result, lower is better. Raises UserError, with everything as it was, when the disk is full.
        """
        target = self.output_dir / f"checkpoint-{step:08d}"
        temporary = self.output_dir / f".{target.name}.tmp-{os.getpid()}"
        try:
            with disk.writing(self.output_dir, f"the checkpoint of step {step}"):
                self.output_dir.mkdir(parents=True, exist_ok=True)
                self._sweep()
                _check_room(self.output_dir, state)
                temporary.mkdir()
                self._write(temporary, step, state, score)
                if target.exists():
                    shutil.rmtree(target)
                os.replace(temporary, target)
                _fsync(self.output_dir)
        except UserError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._prune()
        return target

    def best(self) -> Path | None:
        """The checkpoint with the lowest score, or None where none has one."""
        scored = [(score, path) for path in self.paths() if (score := _score(path)) is not None]
        return min(scored)[1] if scored else None

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
        """What `--resume_from_checkpoint` names: None or "" (start afresh), "latest", "best", or a checkpoint folder.

        "latest" without any checkpoint starts afresh, so that one command line serves the first and every later start.
        """
        if not choice:
            return None
        if choice == "best":
            if (best := self.best()) is None:
                raise UserError(f"no checkpoint in {self.output_dir} has a validation score, so none is the best")
            return self.load(best, map_location)
        return self.latest(map_location) if choice == "latest" else self.load(choice, map_location)

    @staticmethod
    def _write(folder: Path, step: int, state: Mapping[str, Any], score: float | None) -> None:
        file = folder / _STATE
        torch.save(dict(state), file)
        meta = {"step": step, "bytes": file.stat().st_size, "crc32": _crc32(file), "score": score}
        (folder / _META).write_text(json.dumps(meta), encoding="utf-8")
        for path in (file, folder / _META, folder):
            _fsync(path)

    def _prune(self) -> None:
        best = self.best() if self.keep_best else None
        for path in self.paths()[: -self.keep_last]:
            if path != best:
                shutil.rmtree(path)

    def _sweep(self) -> None:
        """Remove what a killed save left."""
        for path in self.output_dir.glob(".checkpoint-*.tmp-*"):
            shutil.rmtree(path, ignore_errors=True)


def _check_room(folder: Path, state: Mapping[str, Any]) -> None:
    """Refuse before a byte is written where the disk cannot hold the tensors; raises OSError as a write would."""
    needed = _bytes(state)
    if needed > shutil.disk_usage(folder).free:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {disk.size(needed)} are needed")


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(_bytes(v) for v in value.values())
    return sum(_bytes(v) for v in value) if isinstance(value, list | tuple) else 0


def _score(path: Path) -> float | None:
    try:
        score = json.loads((path / _META).read_text(encoding="utf-8")).get("score")
    except (OSError, ValueError, AttributeError):
        return None
    return score if isinstance(score, float) and math.isfinite(score) else None


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
