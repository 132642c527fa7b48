"""Bodies of requests, read: JSON, or for a sound that is edited a form with a file. What is wrong is one sentence."""

from __future__ import annotations

import base64
import binascii
import io
import json
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

from soundctm.errors import UserError
from soundctm.files.reading import parse_json
from soundctm.service.bodies import EditBody
from soundctm.service.work.wanted import Refused

M = TypeVar("M", bound=BaseModel)
MOST_FIELDS = 40  # of a form
MOST_TEXT = 2**20  # bytes of its fields
UPLOAD = "the sound"  # its name in messages: that of a client's file tells nothing here


async def read_json_body(request: Request, kind: type[M]) -> M:
    """The body of a request as `kind`. Raises Refused."""
    if _media(request) != "application/json":
        raise Refused("the body must be JSON: Content-Type: application/json", "Content-Type", 415)
    return checked(kind, _parsed(await request.body(), "the body"))


async def read_edit_body(request: Request, seconds: float) -> tuple[EditBody, np.ndarray | None, int]:
    """The body of /v1/edit, JSON or a form; and its sound, of at most `seconds`, with its rate. Raises Refused."""
    if _media(request) == "application/json":
        body = await read_json_body(request, EditBody)
        if body.audio is None:
            return body, None, 0
        content = _base64(body.audio)
        body.audio = None
    elif _media(request) == "multipart/form-data":
        async with request.form(max_files=1, max_fields=MOST_FIELDS, max_part_size=MOST_TEXT) as form:
            file = form.get("audio")
            if file is not None and not isinstance(file, UploadFile):
                raise Refused("audio must be a file of the form", "audio")
            body = checked(EditBody, _fields(dict(form)))
            content = await file.read() if file is not None else None
        if content is None:
            return body, None, 0
    else:
        raise Refused("the body must be application/json or multipart/form-data", "Content-Type", 415)
    return body, *await run_in_threadpool(decoded, content, seconds)


def decoded(content: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """The first channel of a sound file, float32 [samples], and its rate. Raises Refused."""
    from soundctm.data.audio import decode_audio  # torch is imported while the model is loaded, not before

    try:
        samples, rate = decode_audio(io.BytesIO(content), UPLOAD, seconds=seconds)
    except UserError as error:
        raise Refused(str(error), "audio") from error
    return samples[0].numpy().copy(), rate


def resampled(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """`audio` [samples] at `rate` Hz as the editing operations read it, at `wanted` Hz."""
    from soundctm.editing.clip import read_init

    return read_init(audio, rate, wanted).numpy()


def checked(kind: type[M], values: dict[str, Any]) -> M:
    """`values` as `kind`. Raises Refused, which names the first field that is wrong."""
    try:
        return kind.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise _refused(error, kind) from error


def _refused(error: ValidationError, kind: type[BaseModel]) -> Refused:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    field, where = (path[0] if path else None), ".".join(path)
    if first["type"] == "extra_forbidden":
        if len(path) == 1:
            return Refused(f"there is no {where[:80]!r}; known are {', '.join(kind.model_fields)}", field)
        return Refused(f"there is no {where[:80]!r}", field)
    if first["type"] == "missing":
        return Refused(f"{where} is missing", field)
    message = first["msg"][0].lower() + first["msg"][1:]
    return Refused(f"{where} is {_short(first['input'])}; {message}", field)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _parsed(content: bytes, place: str) -> dict[str, Any]:
    try:
        return parse_json(content.decode("utf-8"), place)
    except UnicodeDecodeError as error:
        raise Refused(f"{place} is not UTF-8 text") from error
    except UserError as error:
        raise Refused(str(error)) from error


def _fields(form: dict[str, Any]) -> dict[str, Any]:
    """The values of a form: its field `request` is JSON, and every other one a value of the same name."""
    form.pop("audio", None)
    values: dict[str, Any] = {}
    for name, text in form.items():
        if not isinstance(text, str):
            raise Refused(f"{name[:80]} is a file; only audio is one", name[:80])
        if name == "request":
            values |= _parsed(text.encode("utf-8", "surrogatepass"), "request")
        elif name in ("prompt", "negative_prompt", "operation", "side", "sampler", "format"):
            values[name] = text
        else:
            values[name] = _value(text)
    return values


def _value(text: str) -> Any:
    """A number, list or truth value as JSON writes it; any other text is itself."""
    try:
        return parse_json(text, "a field", None)
    except UserError:
        return text


def _media(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("audio is no base64 text", "audio") from error
