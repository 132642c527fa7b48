"""The service behind `soundctm serve` and the studio: sounds over HTTP, waiting requests made together.

    app = create_app(Settings(), pipeline)     # a FastAPI application; `app.state.desk` takes jobs

A request passes `web.guard`, its body is read (`web.incoming`, `bodies`) and checked (`work.wanted`), becomes a job of
the desk (`work.desk`), is made in a batch with others that fit (`work.batches`, `work.making`), and goes out as sound,
JSON or events (`web.replies`, `web.events`).
"""

import importlib

_MODULES = {
    "Clip": "work.jobs", "Job": "work.jobs", "Desk": "work.desk", "Settings": "settings", "Wanted": "work.wanted",
    "Model": "work.models", "create_app": "app",
}  # fmt: skip
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
