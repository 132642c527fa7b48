"""Trackers beside `log.jsonl`: wandb and tensorboard, through accelerate's classes for them.

A tracker never asks anything and never stops a training: without a key wandb writes offline runs (`wandb sync` uploads
them), and what cannot be reached is a warning.
"""

from __future__ import annotations

import importlib.util
import logging
import netrc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from soundctm.errors import UserError

logger = logging.getLogger(__name__)

PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard"}
PATIENCE = 20  # seconds for wandb's server to answer


def check_trackers(names: Sequence[str]) -> None:
    """Raises UserError for a name that is no tracker and for one whose package is not installed."""
    for name in names:
        if name not in PACKAGES:
            raise UserError(f"no tracker {name!r}; they are {', '.join(PACKAGES)}")
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise UserError(f"report_to {name} needs a package: pip install {PACKAGES[name]}")


def start_trackers(
    names: Sequence[str], project: str, run: str, folder: Path, config: Mapping[str, Any]
) -> list[GeneralTracker]:
    """The trackers called `names` that could be started, with `config` stored in each."""
    check_trackers(names)
    makers = {"wandb": _wandb, "tensorboard": lambda project, run, folder: TensorBoardTracker(run, folder / "tracker")}
    started = [tracker for name in names if (tracker := _start(name, makers[name](project, run, folder))) is not None]
    values = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in config.items()}
    for tracker in started:
        _guarded(tracker, lambda tracker=tracker: tracker.store_init_configuration(values))
    return started


def log_to(trackers: Sequence[GeneralTracker], values: dict[str, float], step: int) -> None:
    """Hand one log line to all."""
    for tracker in trackers:
        _guarded(tracker, lambda tracker=tracker: tracker.log(values, step=step))


def finish(trackers: Sequence[GeneralTracker]) -> None:
    """Let all end."""
    for tracker in trackers:
        _guarded(tracker, tracker.finish)


def _wandb(project: str, run: str, folder: Path) -> WandBTracker:
    import wandb

    mode = os.environ.get("WANDB_MODE", "online")
    if mode == "online" and not _has_key():
        logger.warning("wandb has no key (wandb login), so the run is written offline below %s", folder / "wandb")
        mode = "offline"
    settings = wandb.Settings(init_timeout=PATIENCE, login_timeout=PATIENCE, silent=True)
    return WandBTracker(project, name=run, dir=str(folder), mode=mode, settings=settings, resume="allow")


def _start(name: str, tracker: GeneralTracker) -> GeneralTracker | None:
    """The started tracker; a wandb that cannot be reached is started offline."""
    if _guarded(tracker, tracker.start):
        return tracker
    if name == "wandb" and tracker.init_kwargs["mode"] != "offline":
        tracker.init_kwargs["mode"] = "offline"
        if _guarded(tracker, tracker.start):
            return tracker
    return None


def _guarded(tracker: GeneralTracker, action: Callable[[], object]) -> bool:
    """Whether `action` went well; what the tracker raises is a warning, for no tracker is worth a training."""
    wandb = sys.modules.get("wandb")
    failures = (OSError, RuntimeError, ValueError) + ((wandb.Error,) if wandb else ())
    try:
        action()
    except failures as error:
        logger.warning("%s: %s", tracker.name, next(iter(str(error).splitlines()), type(error).__name__))
        return False
    return True


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").split("//")[-1].split("/")[0].split(":")[0]
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
