"""What a checkpoint of a training holds: the state of its parts, and what it must not be continued as."""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from soundctm.distributed import highest_over_processes
from soundctm.errors import UserError
from soundctm.training.running.checkpointing import Checkpointer

logger = logging.getLogger(__name__)

PLACES = ("output_dir", "resume_from_checkpoint", "cache_dir")  # options that say where, not what


@dataclass
class Position:
    """How far a training has come."""

    step: int = 0  # updates done, skipped ones included
    spent: float = 0.0  # seconds
    skipped: int = 0  # steps without an update, because loss or gradient were not finite
    run: str = field(default_factory=lambda: uuid.uuid4().hex, compare=False)  # name of the run, kept when it goes on
    resumed: bool = field(default=False, compare=False)


def pack(parts: Mapping[str, Any], identity: Mapping[str, Any], options: Any, position: Position) -> dict[str, Any]:
    """The content of a checkpoint: `parts` are modules and optimisers by name, `options` a configuration."""
    states = {name: part.state_dict() for name, part in parts.items()}
    progress = {"spent": position.spent, "skipped": position.skipped, "run": position.run}
    return {**states, **progress, "identity": dict(identity), "options": dataclasses.asdict(options)}


def restore(
    checkpointer: Checkpointer,
    choice: str | None,
    parts: Mapping[str, Any],
    identity: Mapping[str, Any],
    options: Any,
    device: torch.device | str = "cpu",
) -> Position:
    """Load the checkpoint that `choice` means (see `Checkpointer.resume`) into `parts`; changed options are logged.

    Raises UserError when it was made by a training of something else, when it lacks a part, when a part's shapes
    differ, and when the processes do not all see the same checkpoint. Nothing on disk is changed.
    """
    found = checkpointer.resume(choice)
    step = -1 if found is None else found[0]
    minus_lowest, highest = highest_over_processes([-step, step], device)
    if -minus_lowest != highest:
        raise UserError(
            f"the processes see different checkpoints in {checkpointer.output_dir} (steps {-minus_lowest:.0f} and "
            f"{highest:.0f}, -1 is none); the folder must lie on storage that all machines share"
        )
    if found is None:
        return Position()
    step, state = found
    where = f"the checkpoint of step {step} in {checkpointer.output_dir}"
    for name in ("identity", "options"):
        if not isinstance(state.get(name, {}), dict):
            raise UserError(f"{where} is no checkpoint of a training: its {name} is no table")
    check_identity(state.get("identity", {}), identity, where)
    if missing := sorted(set(parts) - set(state)):
        raise UserError(f"{where} lacks {', '.join(missing)}")
    for name, part in parts.items():
        try:
            part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            reason = ([line.strip() for line in str(error).splitlines()] or [type(error).__name__])[:2][-1]
            raise UserError(f"{where} is of another configuration: its {name} does not fit ({reason})") from error
    try:
        position = Position(step, float(state["spent"]), int(state.get("skipped", 0)), str(state.get("run", "")), True)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} does not say how far it has come ({error!r})") from error
    own = {name: value for name, value in dataclasses.asdict(options).items() if name not in PLACES}
    if changed := differences(state.get("options", {}), own):
        logger.warning("resumed at step %d with other options: %s", step, changed)
    else:
        logger.info("resumed at step %d", step)
    return position


def check_identity(stored: Mapping[str, Any], own: Mapping[str, Any], where: str) -> None:
    """Raises UserError naming every value that differs."""
    if listed := differences(stored, own):
        raise UserError(
            f"{where} is of another configuration: {listed}. Give what it was made with, another --output_dir, or "
            "--resume_from_checkpoint none"
        )


def differences(stored: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """ "lr was 0.1 and is 0.2, ..."; values that only one side has (an older checkpoint lacks some) are passed over."""
    changed = [name for name in own if name in stored and stored[name] != own[name]]
    return ", ".join(f"{name} was {stored[name]} and is {own[name]}" for name in changed)
