"""Clips of the service as lines of a `manifest.csv`, so that the scripts know what they are (`--refine`)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from soundctm.defaults import NO_OMEGA
from soundctm.inference.manifest import COLUMNS, Entry
from soundctm.service.work.jobs import Clip, Job
from soundctm.service.work.models import Model
from soundctm.service.work.wanted import Wanted, blend_of


def entry_of(job: Job, clip: Clip, file: str, model: Model) -> Entry:
    """The line of a clip that lies in `file`."""
    wanted = job.wanted
    settings = wanted.settings
    return Entry(
        file=file,
        caption=wanted.prompt,
        seed=str(clip.seed),
        sampler=settings.sampler,
        steps=str(settings.steps),
        omega=NO_OMEGA if settings.omega is None else f"{settings.omega:g}",
        nu="" if settings.nu is None else f"{settings.nu:g}",
        gamma="" if settings.gamma is None else f"{settings.gamma:g}",
        weights=model.pipe.weights,
        checkpoint=model.name,
        fingerprint=model.fingerprint,
        dtype=str(model.pipe.dtype).removeprefix("torch."),
        sampling_rate="",
        target_length="" if wanted.seconds is None or wanted.loop else f"{wanted.seconds:g}",
        seconds=f"{clip.seconds:g}",
        generation_seconds="",
        steering=steering_cell(wanted),
    )


def steering_cell(wanted: Wanted) -> str:
    """The options of `ctm_inference.py` that steered a clip, as JSON; of an edit, what was asked for."""
    found: dict[str, Any] = {}
    if wanted.negative_prompt is not None:
        found["negative_prompt"] = wanted.negative_prompt
    if wanted.loop:
        found["loop"] = True
    if wanted.blend is not None:
        blend = blend_of(wanted.blend)
        told = {"blend_prompt": blend.prompt, "blend_seed": blend.seed}
        found |= {name: value for name, value in told.items() if value is not None}
        found["blend_share"] = f"{blend.share[0]:g}:{blend.share[1]:g}"
    if wanted.control is not None:
        control = wanted.control
        curve = " ".join(f"{time:g}:{value:g}" for time, value in control.points)
        found |= {"control": control.measure, "curve": curve, "control_method": control.method}
    if wanted.edit is not None:
        found |= wanted.edit.to_json()
    return json.dumps(found, sort_keys=True, ensure_ascii=False) if found else ""


def manifest_text(job: Job, names: Mapping[int, str], model: Model) -> str:
    """The table of the clips of a job, by index: their files."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for index, name in names.items():
        entry = entry_of(job, job.clips[index], name, model)
        table.writerow([getattr(entry, column) for column in COLUMNS])
    return text.getvalue()
