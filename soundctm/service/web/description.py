"""What OpenAPI is told that FastAPI cannot see: bodies that are read by hand, and errors that are all of one form."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

_SCHEMAS: dict[str, Any] = {}  # of parts of bodies
SOUND = {"audio/wav": {}, "audio/flac": {}}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the sound; of several variants, a zip with manifest.csv",
        "content": {**SOUND, "application/zip": {}},
    },
    202: {"description": "the job, with wait false", "content": {"application/json": {}}},
}
FORM = {
    "type": "object",
    "properties": {
        "audio": {"type": "string", "format": "binary", "description": "wav, flac, ogg or mp3"},
        "request": {"type": "string", "description": "the JSON body, without audio; or its values as fields"},
    },
}


class Fault(BaseModel):
    """What is wrong: a sentence, and the field of the request that it is about."""

    error: str
    field: str | None = None


def body_of(model: type[BaseModel], examples: dict[str, Any], form: bool = False) -> dict[str, Any]:
    """The body of a request: JSON as `model`, and with `form` a form with a file as well."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    _SCHEMAS.update(schema.pop("$defs", {}))
    content: dict[str, Any] = {"application/json": {"schema": schema, "examples": examples}}
    if form:
        content["multipart/form-data"] = {"schema": FORM}
    return {"requestBody": {"required": True, "content": content}}


def complete(app: FastAPI) -> None:
    """Make the application's description whole."""
    plain = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = plain()
            described["components"]["schemas"].update(_SCHEMAS)
            for path in described["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)  # FastAPI's own; here it is 400
            for name in ("HTTPValidationError", "ValidationError"):
                described["components"]["schemas"].pop(name, None)
        return app.openapi_schema

    app.openapi = whole
