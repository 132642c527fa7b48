"""The FastAPI application: its life, what is wrong as one sentence, and the routes of jobs in `routes`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

import soundctm
from soundctm.errors import UserError
from soundctm.service.settings import Settings
from soundctm.service.web import description, routes
from soundctm.service.web.guard import SAID, Guard, error_answer
from soundctm.service.web.metrics import Metrics
from soundctm.service.work.desk import Desk
from soundctm.service.work.models import Model, load_model
from soundctm.service.work.wanted import Refused

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

log = logging.getLogger(__name__)
TIDY = 1.0  # seconds between two looks at what is too old


class Service:
    """What the routes share: settings, the desk, the model once it is loaded, or why it could not be (`fault`)."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.desk = settings, Desk(settings)
        self.metrics = Metrics(self.desk)
        self.model: Model | None = None
        self.fault: str | None = None
        self.loaded = asyncio.Event()
        self.switching = asyncio.Lock()
        self.on_fault: Callable[[], None] = lambda: None

    def use(self, model: Model) -> None:
        self.model = model
        self.desk.use(model.pipe)

    async def load(self, name: str | None = None) -> None:
        """Load a model in a thread of its own. Raises UserError."""
        self.use(await asyncio.to_thread(load_model, self.settings, name))

    async def ready(self) -> Model:
        """The model, waited for while it is loaded. Raises Refused when there is none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.wait_s):
                await self.loaded.wait()
        if self.fault is not None or self.model is None:
            reason = self.fault or "the model is being loaded"
            raise Refused(reason, code=503, headers={"Retry-After": "5"})
        return self.model

    @property
    def status(self) -> str:
        return "stopping" if self.desk.stopping else "ok" if self.model is not None else "loading"


def create_app(settings: Settings | None = None, pipeline: SoundCTMPipeline | None = None, token: str | None = None,
               name: str = "given") -> FastAPI:  # fmt: skip
    """The application. `pipeline` (called `name`) is used as it is; without one, the settings' model is loaded.

    `app.state.desk` is the desk of jobs, `app.state.service` the rest. `token`: what every request must bring.
    Raises UserError where others than this machine could reach it without a token.
    """
    settings = settings or Settings()
    if not settings.on_loopback and not token:
        raise UserError(
            f"{settings.host} can be reached by other machines, which needs a token: --token_file, or SOUNDCTM_TOKEN"
        )
    service = Service(settings)
    if pipeline is not None:
        service.use(Model(pipeline, name))
        service.loaded.set()

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.desk.start()
        tasks = [asyncio.create_task(_tidy(service))]
        if service.model is None:
            tasks.append(asyncio.create_task(_load(service)))
        yield
        service.desk.stop()
        await asyncio.to_thread(service.desk.join, settings.stop_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="SoundCTM", version=soundctm.__version__, summary="Sounds from captions, and edits of sounds.",
        lifespan=life, docs_url=None, redoc_url=None,  # their pages fetch scripts from another host
        responses={status: {"model": description.Fault} for status in (400, 401, 403, 413, 429, 503)},
    )  # fmt: skip
    app.state.service, app.state.desk, app.state.settings = service, service.desk, settings
    app.include_router(routes.router)
    description.complete(app)
    _say_what_is_wrong(app)
    app.add_middleware(Guard, settings=settings, token=token)
    app.add_middleware(service.metrics.middleware)
    return app


async def _tidy(service: Service) -> None:
    while True:
        await asyncio.sleep(TIDY)
        service.desk.tidy()


async def _load(service: Service) -> None:
    loading = asyncio.ensure_future(service.load())
    await asyncio.wait([loading])
    error = None if loading.cancelled() else loading.exception()
    if error is not None:
        service.fault = str(error)
        if not isinstance(error, UserError):
            log.error("the model could not be loaded", exc_info=error)
        service.on_fault()
    service.loaded.set()


def _say_what_is_wrong(app: FastAPI) -> None:
    """Every error is {"error": a sentence, "field": what it is about}."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return error_answer(error)

    @app.exception_handler(UserError)
    async def wrong(request: Request, error: UserError) -> JSONResponse:
        return error_answer(Refused(str(error)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = str(first["loc"][-1])
        return error_answer(Refused(f"{field} cannot be used: {first['msg'][0].lower()}{first['msg'][1:]}", field))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        said = {404: f"there is nothing at {request.url.path[:200]}", 405: f"{request.method} is not taken here"}
        return error_answer(
            Refused(said.get(error.status_code, str(error.detail)), None, error.status_code, error.headers)
        )

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return error_answer(Refused("the connection ended before the body did", None, 400))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        failure = Refused(f"the service failed at this ({type(error).__name__})", None, 500, SAID)
        return error_answer(failure)  # it goes out past the guard
