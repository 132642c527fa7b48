"""What a run says of itself: lines in `log.jsonl`, trackers, and a progress bar with the remaining time."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from soundctm.config import save_config
from soundctm.files import append_line, cut_unfinished
from soundctm.training.running import trackers
from soundctm.training.running.options import RunConfig

LOG = "log.jsonl"


class Journal:
    """The journal of one run in `output_dir`; only the main process writes (`active`)."""

    def __init__(self, config: RunConfig, name: str, steps: int, first: int, active: bool) -> None:
        self.active, self.folder = active, Path(config.output_dir)
        self._trackers: list[Any] = []
        self._bar = tqdm(total=steps, initial=first, desc=name, disable=not active, dynamic_ncols=True)
        if not active:
            return
        save_config(config, self.folder / "training_config.yaml")
        cut_unfinished(self.folder / LOG)
        self._trackers = trackers.start_trackers(
            config.report_to, config.tracker_project, self.folder.name, self.folder, dataclasses.asdict(config)
        )
        if first:
            self.line(first, {}, event="resumed")

    def line(self, step: int, values: Mapping[str, float], event: str | None = None) -> None:
        """Append a line: `step`, the values (null where not finite) and what happened, if it is no ordinary step."""
        if not self.active:
            return
        record = {"step": step, **({"event": event} if event else {})}
        record |= {k: v if math.isfinite(v) else None for k, v in values.items()}
        append_line(self.folder / LOG, json.dumps(record))
        if values:
            trackers.log_to(self._trackers, {k: v for k, v in values.items() if math.isfinite(v)}, step)

    def progress(self, step: int, remaining: float | None = None, values: Mapping[str, float] | None = None) -> None:
        """Move the bar to `step`, and show the seconds that remain and some values."""
        self._bar.update(step - self._bar.n)
        if remaining is not None:
            shown = {k: f"{v:.4g}" for k, v in (values or {}).items()}
            self._bar.set_postfix({"left": tqdm.format_interval(remaining), **shown}, refresh=False)

    def close(self) -> None:
        """End bar and trackers."""
        self._bar.close()
        trackers.finish(self._trackers)


def memory(device: torch.device) -> float:
    """Most memory in GiB that this process has used: of the GPU, or of the machine on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
