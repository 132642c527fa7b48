"""The studio's application: the service, the history's routes, and the page."""

from __future__ import annotations

import html
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from soundctm.data.names import shown
from soundctm.service import Settings, create_app
from soundctm.studio import routes
from soundctm.studio.history import History
from soundctm.studio.pictures import Pictures
from soundctm.studio.saving import Saving

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

PAGE = Path(__file__).parent / "page"
MOST_UPLOAD_MIB = 256.0


def create_studio(
    settings: Settings, history: History, pipeline: SoundCTMPipeline | None = None, name: str = "given"
) -> FastAPI:
    """The application over the sounds of `history`; see `soundctm.service.create_app` for the rest."""
    app = create_app(settings, pipeline, name=name)
    app.state.history = history
    app.state.pictures = Pictures()
    app.state.saving = Saving(history, app.state.service)
    app.state.desk.on_clip.append(app.state.saving)
    app.include_router(routes.router)
    text = (PAGE / "index.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        folder = html.escape(shown(history.folder.absolute()), quote=True)
        content = text.replace("{{nonce}}", nonce).replace("{{folder}}", folder)
        return HTMLResponse(content, headers=page_headers(nonce))

    app.mount("/static", _Files(directory=PAGE), name="static")
    return app


def page_headers(nonce: str) -> dict[str, str]:
    """Nothing inline, nothing of another host. The nonce is for the one style element that wavesurfer makes."""
    return {
        "content-security-policy": f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
        "img-src 'self' data:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "permissions-policy": "microphone=(self), camera=(), geolocation=()",
        "cache-control": "no-store",
    }


class _Files(StaticFiles):
    """The page's files, asked for again at every visit, so that a new version is not mixed with an old one."""

    def file_response(self, *args, **kwargs):
        answer = super().file_response(*args, **kwargs)
        answer.headers["cache-control"] = "no-cache"
        return answer
