"""Finished jobs as answers: one sound as a file, several as a zip with the `manifest.csv` that the scripts write."""

from __future__ import annotations

import io
import zipfile
from urllib.parse import quote

from starlette.responses import Response

from soundctm.inference.clips import safe_stem
from soundctm.service.work.describe import manifest_text
from soundctm.service.work.jobs import Job
from soundctm.service.work.models import Model

MEDIA = {"wav": "audio/wav", "flac": "audio/flac"}


def clip_answer(job: Job, index: int, kind: str, bits: int, lasting: bool = False) -> Response:
    """The sound file of a clip. `lasting`: it has an address of its own, under which it never changes."""
    clip = job.clips[index]
    headers = {"X-Soundctm-Seed": str(clip.seed), "X-Soundctm-Job": job.id, **_warned(job)}
    if lasting:
        headers["Cache-Control"] = "private, max-age=3600, immutable"
    return _file(clip.content(kind, bits), MEDIA[kind], f"{stem(job, index)}.{kind}", headers)


def job_answer(job: Job, model: Model) -> Response:
    """All clips of a job: the file of a single one, or a zip."""
    wanted = job.wanted
    if len(job.seeds) == 1:
        return clip_answer(job, 0, wanted.kind, wanted.bits)
    buffer = io.BytesIO()
    names = {index: f"{stem(job, index)}.{wanted.kind}" for index in sorted(job.clips)}
    with zipfile.ZipFile(buffer, "w") as archive:  # sounds do not get smaller
        for index, name in names.items():
            archive.writestr(name, job.clips[index].content(wanted.kind, wanted.bits))
        archive.writestr("manifest.csv", manifest_text(job, names, model))
    seeds = ",".join(str(seed) for seed in job.seeds)
    headers = {"X-Soundctm-Seed": seeds, "X-Soundctm-Job": job.id, **_warned(job)}
    return _file(buffer.getvalue(), "application/zip", f"{safe_stem(wanted.prompt, False)}.zip", headers)


def stem(job: Job, index: int) -> str:
    """The harmless name, without its ending, that a clip's caption gives it."""
    name = safe_stem(job.wanted.prompt, is_file_name=False)
    return name if len(job.seeds) == 1 else f"{name}_{index}"


def _warned(job: Job) -> dict[str, str]:
    """What there is to be wary of, as a header: its characters are those that a header may have."""
    said = dict.fromkeys(text for _, clip in sorted(job.clips.items()) for text in clip.warnings)
    plain = "; ".join(said).encode("ascii", "replace").decode("ascii")
    shown = "".join(c if c.isprintable() else "?" for c in plain)[:500]
    return {"X-Soundctm-Warning": shown} if shown else {}


def _file(content: bytes, media: str, name: str, headers: dict[str, str]) -> Response:
    return Response(content, media_type=media, headers={**attached(name), **headers})


def attached(name: str) -> dict[str, str]:
    """The header by which browsers save an answer under `name`."""
    plain = name.encode("ascii", "replace").decode("ascii").replace("?", "_")
    shown = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": shown}
