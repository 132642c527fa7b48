"""The routes below /studio: the history, and jobs that begin with a sound of it."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from soundctm.errors import UserError
from soundctm.inference.again import seed_of
from soundctm.service.bodies import EditBody, GenerateBody, Strict
from soundctm.service.web.incoming import checked, decoded, read_json_body
from soundctm.service.web.replies import attached
from soundctm.service.work.wanted import Refused, Wanted, wanted_edit, wanted_sound
from soundctm.studio.history import History, Item
from soundctm.studio.history.folder import NotThere
from soundctm.studio.history.own import MOST_BYTES
from soundctm.studio.recipes import request_of
from soundctm.studio.sounds import converted, media_of

router = APIRouter(prefix="/studio")


class StarBody(Strict):
    """What can be changed of a sound."""

    starred: bool


class RefineBody(Strict):
    """A clip once more, with everything as it was but for the steps."""

    steps: int = Field(4, ge=1)


def the_history(request: Request) -> History:
    return request.app.state.history


TheHistory = Annotated[History, Depends(the_history)]


def _found(history: History, id: str) -> Item:
    try:
        return history.item(id)
    except NotThere as error:
        raise Refused(str(error), "id", 404) from error


@router.get("/history")
def listed(
    history: TheHistory,
    query: Annotated[str, Query(max_length=500)] = "",
    starred: bool = False,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Annotated[str | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    """The sounds, the newest first; `next` is the `before` of those that follow."""
    try:
        items, following = history.items(query, starred, limit, before)
    except NotThere as error:
        raise Refused(str(error), "before", 409) from error
    return {"items": [item.to_json() for item in items], "next": following, "total": len(history)}


@router.post("/history", status_code=201)
async def add(
    request: Request, history: TheHistory, name: Annotated[str, Query(max_length=1000)] = "sound"
) -> dict[str, Any]:
    """Keep a sound file: the body is the file, `name` what it is called."""
    content = await request.body()
    if len(content) > MOST_BYTES:
        raise Refused(f"the sound has more than {MOST_BYTES >> 20} MiB, the most that is taken", code=413)
    return (await run_in_threadpool(history.add_own, content, name)).to_json()


@router.get("/history/{id}")
def one(id: str, history: TheHistory) -> dict[str, Any]:
    """A sound."""
    return _found(history, id).to_json()


@router.patch("/history/{id}")
async def star(id: str, request: Request, history: TheHistory) -> dict[str, Any]:
    """Give or take the star."""
    body = await read_json_body(request, StarBody)
    await run_in_threadpool(_found, history, id)
    return (await run_in_threadpool(history.star, id, body.starred)).to_json()


@router.delete("/history/{id}")
def delete(id: str, history: TheHistory) -> dict[str, Any]:
    """Put a sound into the trash; `POST .../restore` takes it back."""
    _found(history, id)
    return history.delete(id).to_json()


@router.post("/history/{id}/restore")
def restore(id: str, history: TheHistory) -> dict[str, Any]:
    """Take a sound out of the trash."""
    try:
        return history.restore(id).to_json()
    except NotThere as error:
        raise Refused(str(error), "id", 404) from error


@router.get("/history/{id}/audio", response_class=Response)
def audio(
    id: str, history: TheHistory, format: Literal["wav", "flac"] | None = None,
    bits: Literal["16", "24", "32"] = "16", save: Literal["1"] | None = None,
) -> Response:  # fmt: skip
    """The sound's file as it is, or as wav or flac. With save=1 browsers save it."""
    item = _found(history, id)
    path = history.path(item)
    if format is None:
        headers = attached(path.name) if save else {}
        return FileResponse(path, media_type=media_of(path), headers=headers)
    name = f"{path.stem}.{format}"
    content = converted(path, format, int(bits))
    return Response(content, media_type=f"audio/{format}", headers=attached(name) if save else {})


@router.get("/history/{id}/spectrogram")
def spectrogram(id: str, request: Request, history: TheHistory) -> dict[str, Any]:
    """What there is to draw of a sound; see soundctm.studio.pictures."""
    return request.app.state.pictures.of(history.path(_found(history, id)))


@router.post("/history/{id}/edit", status_code=202)
async def edit(id: str, request: Request, history: TheHistory) -> Response:
    """Vary, inpaint, extend, loop a sound: the body is that of /v1/edit, without its sound."""
    body = await read_json_body(request, EditBody)
    if body.audio is not None or body.of is not None or body.operation == "refine":
        raise Refused("the sound to edit is the one of the address; leave out audio, of and refine", "audio")
    item = await run_in_threadpool(_found, history, id)
    return await _edited(request, history, item, item, body, None)


@router.post("/history/{id}/again", status_code=202)
async def again(id: str, request: Request, history: TheHistory) -> Response:
    """A new sound with the seed of this one: the body is that of /v1/generate."""
    body = await read_json_body(request, GenerateBody)
    if body.seed is not None:
        raise Refused("the seed is that of the sound; leave it out", "seed")
    item = await run_in_threadpool(_found, history, id)
    return await _generated(request, item, body, _seed(item))


@router.post("/history/{id}/refine", status_code=202)
async def refine(id: str, request: Request, history: TheHistory) -> Response:
    """The same clip at more steps."""
    body = await read_json_body(request, RefineBody)
    item = await run_in_threadpool(_found, history, id)
    told, sound = request_of(item, body.steps)
    if sound is None:
        return await _generated(request, item, checked(GenerateBody, told), _seed(item))
    source = await run_in_threadpool(history.inside, sound)
    return await _edited(request, history, item, source, checked(EditBody, told), _seed(item))


async def _generated(request: Request, item: Item, body: GenerateBody, seed: int) -> Response:
    service = request.app.state.service
    model = await service.ready()
    wanted = wanted_sound(body, service.settings, model.pipe)
    return _submitted(request, dataclasses.replace(wanted, seed=seed), item, None)


async def _edited(
    request: Request, history: History, item: Item, source: Item, body: EditBody, seed: int | None
) -> Response:
    service = request.app.state.service
    content = await run_in_threadpool(history.path(source).read_bytes)
    samples, rate = await run_in_threadpool(decoded, content, service.settings.max_seconds)
    model = await service.ready()
    wanted = wanted_edit(body, samples, rate, service.settings, model.pipe)
    return _submitted(request, wanted if seed is None else dataclasses.replace(wanted, seed=seed), item, source)


def _submitted(request: Request, wanted: Wanted, item: Item, source: Item | None) -> Response:
    """Begin a job of a sound of the history; the answer is that of the service's with wait false."""
    state = request.app.state
    if state.service.switching.locked():
        raise Refused("another model is being loaded", None, 503, {"Retry-After": "5"})
    state.saving.from_item(wanted, item, source)
    job = state.desk.submit(wanted)
    url = f"/v1/jobs/{job.id}"
    return JSONResponse({"id": job.id, "url": url, "events": f"{url}/events"}, 202, {"Location": url})


def _seed(item: Item) -> int:
    if item.entry is None:
        raise UserError(f"{item.file} was not made by a model; it has no seed")
    return seed_of(item.entry.chosen_seed or item.entry.seed, item.file)
