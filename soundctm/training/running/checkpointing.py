"""Training checkpoints that are whole or absent.

A checkpoint is a folder `checkpoint-00001234/` with `state.pt` (tensors and plain Python values, readable with
`torch.load(..., weights_only=True)`) and `meta.json` (step, size and CRC-32 of the state file, validation score, run).
It is written under a temporary name, flushed to disk and renamed, so a run killed at any moment leaves the last whole
one in place, and so does a full disk.

Every run has a name of its own, kept when it goes on. Only whole checkpoints of the run count when old ones are
removed. Those of another run, those behind the step at which a run goes on, and damaged ones are set aside at its
start, into `set-aside-1/` and so on: they are in nobody's way, and nothing is lost.

Random states are not stored: every trainer derives its generators from (seed, step), which makes a resumed run exact.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import pickle
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

    Only the main process may call `begin` and `save`; every process may call `latest` and `load`.
    """

    def __init__(self, output_dir: str | os.PathLike, keep_last: int = 2, keep_best: bool = False) -> None:
        """Keep the `keep_last` newest checkpoints below `output_dir`, and the one with the lowest score if wished.

        Raises UserError if `keep_last` is below 1.
        """
        if keep_last < 1:
            raise UserError(f"keep_last is {keep_last}; at least one checkpoint must be kept")
        self.output_dir = Path(output_dir)
        self.keep_last, self.keep_best = keep_last, keep_best
        self._verified: dict[Path, tuple[int, int, int]] = {}  # whole ones, as they were when they were read

    def begin(self, step: int, run: str) -> None:
        """Set aside all checkpoints but the whole ones of `run` up to `step`, at which it begins; told in a warning.

        Also removes what a killed save left. Raises UserError when the folder cannot be written.
        """
        with disk.writing(self.output_dir, "the run"):
            self._sweep()
            others = [p for p in self.paths() if _number(p) > step or _run(p) != run or not self._whole(p)]
            if not others:
                return
            aside = _unused(self.output_dir)
            aside.mkdir()
            for path in others:
                os.replace(path, aside / path.name)
            _fsync(self.output_dir)
        names = ", ".join(path.name for path in others)
        logger.warning("%s are not of this run up to step %d, or damaged: moved to %s", names, step, aside)

    def save(self, step: int, state: Mapping[str, Any], score: float | None = None) -> Path:
        """Write `state` as the checkpoint of `step`, then remove the oldest ones beyond what is to be kept.

        `state` holds tensors, state dicts and plain Python values; its "run", if it has one, names the run. A
        checkpoint of the same step is replaced. `score` is a validation result, lower is better. What is saved here is
        never among the removed. Raises UserError, with everything as it was, when the disk is full.
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
                old = self.output_dir / f".{target.name}.old-{os.getpid()}"
                if target.exists():
                    os.replace(target, old)
                os.replace(temporary, target)
                _fsync(self.output_dir)
                shutil.rmtree(old, ignore_errors=True)
        except UserError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._prune(target)
        return target

    def best(self) -> Path | None:
        """The checkpoint with the lowest score, or None where none has one."""
        scored = [(score, path) for path in self.paths() if (score := _score(path)) is not None]
        return min(scored)[1] if scored else None

    def latest(self, map_location: str | torch.device = "cpu") -> tuple[int, dict[str, Any]] | None:
        """(step, state) of the newest whole checkpoint, or None. Broken ones are passed over with a warning.

        Raises UserError when there are checkpoints and none is whole, because to begin anew must be said.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return self.load(path, map_location)
            except UserError as error:
                reason = error
                logger.warning("skipping a broken checkpoint: %s", error)
        if paths:
            raise UserError(
                f"no checkpoint in {self.output_dir} is whole, the last: {reason}. To begin anew, which sets them "
                "aside, give --resume_from_checkpoint none"
            )
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
        meta = _check(path)
        try:
            state = torch.load(path / _STATE, map_location=map_location, weights_only=True)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError) as error:
            raise _broken(path, f"{_STATE} is no training state ({type(error).__name__})") from error
        except pickle.UnpicklingError as error:
            raise _broken(path, f"{_STATE} holds what no training state holds") from error
        if not isinstance(state, dict):
            raise _broken(path, f"{_STATE} holds no training state")
        return meta["step"], state

    def check(self, choice: str | None) -> None:
        """Raises UserError, before any work, where `resume` will have nothing to go on from."""
        if choice == "best" and self.best() is None:
            raise UserError(f"no checkpoint in {self.output_dir} has a validation score, so none is the best")
        if choice and choice not in ("latest", "best"):
            _check(Path(choice))

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
        meta["run"] = state.get("run", "")
        (folder / _META).write_text(json.dumps(meta), encoding="utf-8")
        for path in (file, folder / _META, folder):
            _fsync(path)

    def _prune(self, saved: Path) -> None:
        """Remove whole checkpoints of the run of `saved` that are too many; broken and foreign ones do not count."""
        self._verified[saved] = _signature(saved)
        own = [path for path in self.paths() if _run(path) == _run(saved) and self._whole(path)]
        scored = [(score, path) for path in own if (score := _score(path)) is not None]
        kept = {saved, *own[-self.keep_last :], *([min(scored)[1]] if self.keep_best and scored else [])}
        for path in own:
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)
                self._verified.pop(path, None)

    def _whole(self, path: Path) -> bool:
        """Whether a checkpoint is whole; its bytes are read once as long as they do not change."""
        try:
            if self._verified.get(path) != _signature(path):
                _check(path)
                self._verified[path] = _signature(path)
        except (OSError, UserError):
            return False
        return True

    def _sweep(self) -> None:
        """Remove what a killed save left, and put back what it was about to replace."""
        for path in self.output_dir.glob(".checkpoint-*.old-*"):
            target = self.output_dir / path.name[1:].split(".")[0]
            if not target.exists():
                os.replace(path, target)
        for pattern in (".checkpoint-*.tmp-*", ".checkpoint-*.old-*"):
            for path in self.output_dir.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)


def _check(path: Path) -> dict[str, Any]:
    """`meta.json` of a checkpoint whose state is what it says. Raises UserError for any other."""
    try:
        meta = json.loads((path / _META).read_text(encoding="utf-8"))
        step, size, crc32 = int(meta["step"]), meta["bytes"], meta["crc32"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        raise _broken(path, f"{_META} cannot be read ({error})") from error
    state = path / _STATE
    try:
        same = state.is_file() and state.stat().st_size == size and _crc32(state) == crc32
    except OSError as error:
        raise _broken(path, f"{_STATE} cannot be read ({error.strerror})") from error
    if not same:
        raise _broken(path, f"{_STATE} differs from what {_META} says")
    return {**meta, "step": step}


def _broken(path: Path, why: str) -> UserError:
    return UserError(f"{path} is not a whole checkpoint: {why}")


def _signature(path: Path) -> tuple[int, int, int]:
    """Changes when the state file does. Raises OSError when it is absent."""
    stat = (path / _STATE).stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _unused(folder: Path) -> Path:
    """The first of set-aside-1, set-aside-2, ... that is not there."""
    number = 1
    while (path := folder / f"set-aside-{number}").exists():
        number += 1
    return path


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


def _number(path: Path) -> int:
    return int(_NAME.fullmatch(path.name)[1])


def _score(path: Path) -> float | None:
    score = _meta(path).get("score")
    return score if isinstance(score, float) and math.isfinite(score) else None


def _run(path: Path) -> str:
    """The run that a checkpoint is of; "" for older ones, which name none."""
    return str(_meta(path).get("run", ""))


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads((path / _META).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return meta if isinstance(meta, dict) else {}


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
