"""The routes of the service. Sounds are encoded in other threads, so that one request does not wait for another."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

import soundctm
from soundctm.service.bodies import EDIT_EXAMPLES, GENERATE_EXAMPLES, EditBody, GenerateBody
from soundctm.service.web.description import ANSWERS, SOUND, body_of
from soundctm.service.web.events import Bell, events
from soundctm.service.web.incoming import read_edit_body, read_json_body, resampled
from soundctm.service.web.replies import clip_answer, job_answer
from soundctm.service.work import jobs
from soundctm.service.work.desk import listening
from soundctm.service.work.jobs import Job
from soundctm.service.work.models import described, names
from soundctm.service.work.wanted import Refused, Wanted, refined, wanted_edit, wanted_sound

LOOK = 0.5  # seconds between two looks at whether a waiting client is still there
router = APIRouter()


def the_service(request: Request):
    """What `soundctm.service.app.Service` holds."""
    return request.app.state.service


def the_job(id: str, service: Annotated[Any, Depends(the_service)]) -> Job:
    job = service.desk.jobs.get(id)
    if job is None:
        raise Refused(
            f"there is no job {id[:40]!r}; finished ones are kept for {service.settings.kept_s:g} s", "id", 404
        )
    return job


TheService, TheJob = Annotated[Any, Depends(the_service)], Annotated[Job, Depends(the_job)]


@router.get("/health")
async def health(service: TheService) -> dict[str, Any]:
    """How the service is; needs no token."""
    model, desk = service.model, service.desk
    return {
        "status": service.status,
        "version": soundctm.__version__,
        "model": None if model is None else model.name,
        "device": None if model is None else str(model.pipe.device),
        "waiting": desk.waiting,
        "running": desk.running,
        "queue": service.settings.queue,
        "fault": service.fault,
    }


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(service: TheService) -> Response:
    """For Prometheus."""
    return service.metrics.answer()


@router.get("/v1/models")
async def models(service: TheService) -> dict[str, Any]:
    """The models that can be used, and which one is."""
    current = None if service.model is None else service.model.name
    return {"models": described(service.model, service.settings), "current": current}


@router.post("/v1/models/{name:path}")
async def switch(name: str, service: TheService) -> dict[str, Any]:
    """Use another of the models that are found here."""
    if not service.settings.switch_models:
        raise Refused("this service keeps its model; it was started without --switch_models", "name", 403)
    if name not in names():
        raise Refused(f"there is no model {name[:80]!r}; there are {', '.join(names())}", "name", 404)
    desk = service.desk
    if service.switching.locked() or desk.waiting or desk.running:
        raise Refused("jobs wait or run; a model can be chosen when they are done", None, 409)
    async with service.switching:
        await service.load(name)
    return {"models": described(service.model, service.settings), "current": service.model.name}


@router.post("/v1/generate", responses=ANSWERS, openapi_extra=body_of(GenerateBody, GENERATE_EXAMPLES))
async def generate(request: Request, service: TheService) -> Response:
    """A new sound, or several, from a caption."""
    body = await read_json_body(request, GenerateBody)
    model = await service.ready()
    wanted = wanted_sound(body, service.settings, model.pipe)
    return await _made(request, service, wanted, body.wait)


@router.post("/v1/edit", responses=ANSWERS, openapi_extra=body_of(EditBody, EDIT_EXAMPLES, form=True))
async def edit(request: Request, service: TheService) -> Response:
    """An existing sound varied, repaired, extended, looped, or a draft refined."""
    body, audio, rate = await read_edit_body(request, service.settings.max_seconds)
    model = await service.ready()
    if audio is not None and body.of is not None:
        raise Refused("audio and of name two sounds; give one of them", "of")
    if body.of is not None:
        before, index = _clip_of(body.of.job, body.of.clip, service)
        if body.operation == "refine":
            wanted = refined(body, before.wanted, before.seeds[index], service.settings, model.pipe)
            return await _made(request, service, wanted, body.wait)
        audio, rate = before.clips[index].audio, before.clips[index].rate
        body.prompt = before.wanted.prompt if body.prompt is None else body.prompt
    if body.operation == "refine":
        raise Refused(
            "refine needs of, a clip of an earlier job; or ask /v1/generate for its seed and more steps", "of"
        )
    if audio is None:
        raise Refused("there is no sound to edit: give audio, or of", "audio")
    own = model.pipe.codec.sampling_rate
    audio = await run_in_threadpool(resampled, audio, rate, own)
    wanted = wanted_edit(body, audio, own, service.settings, model.pipe)
    return await _made(request, service, wanted, body.wait)


@router.get("/v1/jobs/{id}")
async def job(job: TheJob) -> dict[str, Any]:
    """How far a job is, and its clips."""
    return job.to_json()


@router.delete("/v1/jobs/{id}")
async def cancel(job: TheJob, service: TheService) -> dict[str, Any]:
    """Cancel a job; one that is over stays as it is."""
    service.desk.cancel(job)
    return job.to_json()


@router.get(
    "/v1/jobs/{id}/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}}
)
async def job_events(job: TheJob) -> StreamingResponse:
    """A job's progress and clips as server-sent events."""
    return StreamingResponse(events(job), media_type="text/event-stream")


@router.get("/v1/jobs/{id}/clips/{n}", response_class=Response, responses={200: {"content": SOUND}})
async def clip(
    job: TheJob, n: int, format: Literal["wav", "flac"] | None = None,
    bits: Annotated[Literal["16", "24", "32"] | None, Query()] = None,
) -> Response:  # fmt: skip
    """A clip as a sound file."""
    if n not in job.clips:
        raise Refused(f"the job has no clip {n}; it has {len(job.clips)} of {len(job.seeds)}", "n", 404)
    kind, depth = format or job.wanted.kind, int(bits or job.wanted.bits)
    if kind == "flac" and depth == 32:
        raise Refused("a flac cannot hold 32 bits; give 16 or 24", "bits")
    return await run_in_threadpool(clip_answer, job, n, kind, depth, True)


async def _made(request: Request, service: Any, wanted: Wanted, wait: bool) -> Response:
    """The answer to a request: its sound once it is made, or at once its job."""
    if service.switching.locked():
        raise Refused("another model is being loaded", None, 503, {"Retry-After": "5"})
    if not (wait or service.settings.keep_jobs):
        raise Refused("this service keeps no jobs, because replicas share its work; leave out wait", "wait")
    job = service.desk.submit(wanted)
    if not wait:
        url = f"/v1/jobs/{job.id}"
        return JSONResponse({"id": job.id, "url": url, "events": f"{url}/events"}, 202, {"Location": url})
    bell = Bell()
    with listening(job, bell.ring):
        while not job.is_over:
            if not await bell.wait(LOOK) and await request.is_disconnected():
                service.desk.cancel(job)
    if job.status == jobs.CANCELLED:
        raise Refused("the job was cancelled", None, 409)
    if job.status == jobs.FAILED:
        raise Refused(job.error or "the job failed", None, job.code)
    return await run_in_threadpool(job_answer, job, service.model)


def _clip_of(id: str, index: int, service: Any) -> tuple[Job, int]:
    if not service.settings.keep_jobs:
        raise Refused("this service keeps no jobs, because replicas share its work; give audio", "of")
    job = service.desk.jobs.get(id)
    if job is None or index not in job.clips:
        raise Refused(f"there is no clip {index} of a job {id[:40]!r}", "of", 404)
    return job, index
