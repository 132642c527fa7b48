"""Training checkpoints that are whole or absent.

A checkpoint is a folder `checkpoint-00001234/` with `state.pt` (tensors and plain Python values, readable with
`torch.load(..., weights_only=True)`) and `meta.json` (step, size and CRC-32 of the state file, validation score, run).
It is written whole or not at all (`soundctm.files`), so a run killed at any moment leaves the last whole one in place,
and so does a full disk.

Every run has a name of its own, kept when it goes on. Only whole checkpoints of the run count when old ones are
removed. Those of another run, those behind the step at which a run goes on, and damaged ones are set aside at its
start, into `set-aside-1/` and so on: they are in nobody's way, and nothing is lost.

Random states are not stored: every trainer derives its generators from (seed, step), which makes a resumed run exact.
"""

from __future__ import annotations

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

from soundctm.checkpoints.torch_files import read_torch_file
from soundctm.errors import UserError
from soundctm.files import sweep, whole_folder
from soundctm.files.reading import read_json

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(\d{8,})")
_STATE, _META = "state.pt", "meta.json"
_META_BYTES = 2**20


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
        sweep(self.output_dir)
        others = [p for p in self.paths() if _number(p) > step or _run(p) != run or not self._whole(p)]
        if not others:
            return
        aside = _unused(self.output_dir)
        try:
            aside.mkdir()
            for path in others:
                os.replace(path, aside / path.name)
        except OSError as error:
            raise UserError(f"{self.output_dir} cannot be written: {error.strerror}") from error
        names = ", ".join(path.name for path in others)
        logger.warning("%s are not of this run up to step %d, or damaged: moved to %s", names, step, aside)

    def save(self, step: int, state: Mapping[str, Any], score: float | None = None) -> Path:
        """Write `state` as the checkpoint of `step`, then remove the oldest ones beyond what is to be kept.

        `state` holds tensors, state dicts and plain Python values; its "run", if it has one, names the run. A
        checkpoint of the same step is replaced. `score` is a validation result, lower is better. What is saved here is
        never among the removed. Raises UserError, with everything as it was, when the disk is full.
        """
        target = self.output_dir / f"checkpoint-{step:08d}"
        sweep(self.output_dir)
        with whole_folder(target, replace=True, needed=_bytes(state)) as folder:
            self._write(folder, step, state, score)
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
            state = read_torch_file(path / _STATE, map_location, mapped=False)
        except UserError as error:
            raise _broken(path, str(error)) from error
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
        score = score if score is not None and math.isfinite(score) else None
        meta = {"step": step, "bytes": file.stat().st_size, "crc32": _crc32(file), "score": score}
        meta["run"] = state.get("run", "")
        (folder / _META).write_text(json.dumps(meta), encoding="utf-8")

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


def _check(path: Path) -> dict[str, Any]:
    """`meta.json` of a checkpoint whose state is what it says. Raises UserError for any other."""
    try:
        meta = read_json(path / _META, limit=_META_BYTES)
    except UserError as error:
        raise _broken(path, str(error)) from error
    step, size, crc32 = (meta.get(name) for name in ("step", "bytes", "crc32"))
    if not all(isinstance(value, int) and value >= 0 for value in (step, size, crc32)):
        raise _broken(path, f"{_META} does not say step, bytes and crc32")
    state = path / _STATE
    try:
        same = state.is_file() and state.stat().st_size == size and _crc32(state) == crc32
    except OSError as error:
        raise _broken(path, f"{_STATE} cannot be read ({error.strerror})") from error
    if not same:
        raise _broken(path, f"{_STATE} differs from what {_META} says")
    return meta


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
        return read_json(path / _META, limit=_META_BYTES)
    except UserError:
        return {}


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            value = zlib.crc32(block, value)
    return value
