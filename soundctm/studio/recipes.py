"""Clips as lines of the manifest, and back: what made a clip, as the scripts say it, is what makes it again.

An edit's line says the sound that was edited as `init_audio`, a file of the history's folder, so that
`soundctm generate --manifest` and `--refine` can make it again, too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from soundctm.errors import UserError
from soundctm.inference.manifest import Entry
from soundctm.service import Clip, Job, Model
from soundctm.service.work.describe import entry_of, steering_cell
from soundctm.studio.history.item import Item, operation_of, steering_of


def line_of(job: Job, clip: Clip, model: Model, sound: Path | None) -> Entry:
    """The line of a clip, without its file's name. `sound`: what was edited."""
    wanted = job.wanted
    seconds = wanted.seconds or model.pipe.defaults.seconds
    return dataclasses.replace(
        entry_of(job, clip, "", model),
        sampling_rate=str(clip.rate),
        target_length="" if wanted.edit is not None or seconds is None else f"{seconds:g}",
        steering=steering_cell(dataclasses.replace(wanted, edit=None)) if wanted.edit is None else _edited(job, sound),
    )


def _edited(job: Job, sound: Path | None) -> str:
    wanted = job.wanted
    edit = wanted.edit
    found = json.loads(steering_cell(dataclasses.replace(wanted, edit=None)) or "{}")
    if sound is not None:
        found["init_audio"] = str(sound.absolute())
        with sound.open("rb") as file:
            found["init_audio_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    if edit.strength is not None:
        found["strength"] = edit.strength
    if edit.operation == "inpaint":
        found["inpaint"] = _parts(edit.regions)
    elif edit.operation == "bands":
        found["bands"] = _parts(edit.bands)
    elif edit.operation == "extend":
        found[f"extend_{edit.side}"] = edit.seconds
    elif edit.operation == "loop":
        found |= {"loop": True, "seam": edit.seam}
    if edit.repaint:
        found["repaint"] = edit.repaint
    return json.dumps(found, sort_keys=True, ensure_ascii=False)


def request_of(item: Item, steps: int) -> tuple[dict[str, Any], str | None]:
    """The body that makes the clip again with `steps`, but for its seed; and of an edit the path of what was edited.

    Raises UserError for a sound that was not made here, and for lines that no request can say.
    """
    entry = item.entry
    if entry is None:
        raise UserError(f"{item.file} was not made by a model; there is nothing to refine")
    if entry.weights == "teacher":
        raise UserError(f"{item.file} was made by the teacher, which the studio does not run")
    steering = steering_of(entry)
    body: dict[str, Any] = {
        "prompt": entry.caption,
        "steps": steps,
        "omega": "none" if entry.omega == "none" else _number(entry, "omega"),
        "nu": _number(entry, "nu"),
        "sampler": "deterministic" if entry.sampler == "onestep" else entry.sampler or None,
        "negative_prompt": steering.get("negative_prompt"),
    }
    if entry.sampler == "gamma_multistep":
        body["gamma"] = _number(entry, "gamma")
    operation = operation_of(steering)
    if operation == "generate":
        body |= {"seconds": _number(entry, "target_length"), "loop": steering.get("loop"), **_steered(steering)}
        return _without_none(body), None
    body |= {"operation": operation, "strength": steering.get("strength"), "repaint": steering.get("repaint")}
    if operation == "inpaint":
        body["regions"] = _pairs(steering["inpaint"])
    elif operation == "bands":
        body["bands"] = _pairs(steering["bands"])
    elif operation == "extend":
        before, after = (float(steering.get(name) or 0) for name in ("extend_before", "extend_after"))
        if before and after:
            raise UserError(f"{item.file} was extended on both sides at once, which the studio does not do")
        body |= {"seconds": before or after, "side": "before" if before else "after"}
    elif operation == "loop":
        body["seam"] = steering.get("seam")
    return _without_none(body), str(steering.get("init_audio") or "") or None


def _steered(steering: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if steering.get("control"):
        from soundctm.control import read_curve

        points = [list(point) for point in read_curve(str(steering.get("curve")), 3600.0).points]
        found["control"] = {"measure": steering["control"], "points": points}
        if steering.get("control_method"):
            found["control"]["method"] = steering["control_method"]
    if steering.get("blend_prompt") is not None or steering.get("blend_seed") is not None:
        from soundctm.config import load_config
        from soundctm.inference.steering import SteeringOptions, blend_of

        told = {name: value for name, value in steering.items() if name.startswith("blend_")}
        blend = blend_of(load_config(SteeringOptions, None, told))
        found["blend"] = _without_none({"prompt": blend.prompt, "seed": blend.seed, "share": list(blend.share)})
    return found


def _parts(pairs: Any) -> str:
    return ",".join(f"{first:.10g}-{last:.10g}" for first, last in pairs)


def _pairs(text: Any) -> list[list[float]]:
    from soundctm.editing.regions import parse_regions

    return [[region.start, region.end] for region in parse_regions(str(text))]


def _number(entry: Entry, column: str) -> float | None:
    text = getattr(entry, column)
    try:
        return float(text) if text else None
    except ValueError:
        raise UserError(f"the manifest's {column} of {entry.file} is {text[:40]!r}; it must be a number") from None


def _without_none(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
