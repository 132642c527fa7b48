"""`soundctm serve`: the model behind HTTP, for editors, scripts and pages.

    soundctm serve
    curl -H 'Content-Type: application/json' -d '{"prompt": "a dog barking"}' -o dog.wav http://127.0.0.1:8765/v1/generate

docs/service.md has the API.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from soundctm.command import Parser, exit_code
from soundctm.config import add_arguments, config_from_args
from soundctm.errors import UserError
from soundctm.files.reading import read_text
from soundctm.places import MODELS
from soundctm.service.settings import Settings

log = logging.getLogger(__name__)
NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")
SHORTEST_TOKEN = 16  # characters
VARIABLE = "SOUNDCTM_TOKEN"


def main(arguments: Sequence[str], program: str = "soundctm serve") -> int:
    """Serve until stopped. The exit code is that of `soundctm.command.exit_code`."""
    parser = Parser(
        prog=program, description="Serve a model over HTTP: sounds, edits, jobs.", allow_abbrev=False,
        epilog=f"The token may also be in the environment variable {VARIABLE}.",
    )  # fmt: skip
    add_arguments(parser, Settings)

    def act() -> None:
        settings = config_from_args(Settings, parser.parse_args(arguments))
        check_packages()
        token = read_token(settings)
        if settings.checkpoint in MODELS:
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from soundctm.service import create_app
        from soundctm.service.web.server import serve

        app = create_app(settings, token=token)
        serve(app, settings, lambda address: log.info("listening at %s; loading %s", address, settings.checkpoint))

    return exit_code(act)


def check_packages() -> None:
    """Raises UserError, with the extra's name, where the service's packages are missing."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"the service needs the Python package {missing[0]}: pip install soundctm[studio]")


def read_token(settings: Settings) -> str | None:
    """The token of the settings' file, or of the environment. Raises UserError for one that can be guessed."""
    token = os.environ.get(VARIABLE)
    if settings.token_file is not None:
        token = next(iter(read_text(Path(settings.token_file), 4096).splitlines()), "").strip()
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UserError(f"the token must have at least {SHORTEST_TOKEN} plain characters")
    return token
