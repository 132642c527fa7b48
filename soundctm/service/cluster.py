"""The service on several machines: the same application as a deployment of Ray Serve, which needs `soundctm[ray]`.

    python -m soundctm.service.cluster --replicas 2          # on this machine, until it is stopped
    serve run soundctm.service.cluster:build replicas=2      # on a cluster, with Ray's own command

Each replica holds the model, batches what it is given, and is started again by Ray when it dies. Which replica a
request goes to is Ray's choice, so jobs, which belong to one of them, are not offered: every answer is the sound.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from soundctm.command import exit_code
from soundctm.config import add_arguments, config_from_args, load_config
from soundctm.errors import UserError
from soundctm.service.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application

log = logging.getLogger(__name__)
NAME = "soundctm"
HEALTH_S = 5.0  # seconds between two looks at a replica
VARIABLE = "SOUNDCTM_TOKEN"


def application(settings: Settings, replicas: int = 1, token: str | None = None, **resources: Any) -> Application:
    """The deployment. `resources`: of a replica, as Ray has them (`num_cpus=2`, `num_gpus=1`). Raises UserError."""
    _check_ray()
    from ray import serve

    settings = dataclasses.replace(settings, keep_jobs=False, switch_models=False)
    if not settings.on_loopback and not token:
        raise UserError(f"{settings.host} can be reached by other machines, which needs a token: {VARIABLE}")

    def app():
        from soundctm.service import create_app

        return create_app(settings, token=token)

    @serve.ingress(app)
    class Replica:
        """Ray wraps it round the application; it says when the model cannot be used."""

        async def check_health(self) -> None:
            service = self.app.state.service
            if service.fault is not None:
                raise RuntimeError(service.fault)

    deployment = serve.deployment(
        Replica,
        name=NAME,
        num_replicas=replicas,
        max_ongoing_requests=settings.queue,
        ray_actor_options=resources or {"num_cpus": 1},
        health_check_period_s=HEALTH_S,
        graceful_shutdown_timeout_s=settings.stop_s,
    )
    return deployment.bind()


def build(arguments: Mapping[str, str]) -> Application:
    """For `serve run` and `serve build`: options of `soundctm serve`, `replicas`, `num_cpus`, `num_gpus`.

    The token is in the environment variable SOUNDCTM_TOKEN. Raises UserError.
    """
    given = dict(arguments)
    try:
        replicas = int(given.pop("replicas", 1))
        resources = {name: float(given.pop(name)) for name in ("num_cpus", "num_gpus") if name in given}
    except ValueError as error:
        raise UserError(f"replicas, num_cpus and num_gpus are numbers: {error}") from error
    return application(load_config(Settings, None, given), replicas, os.environ.get(VARIABLE), **resources)


def start(settings: Settings, replicas: int = 1, token: str | None = None, **resources: Any) -> None:
    """Run it on this machine, or on the cluster that RAY_ADDRESS names, listening where `settings` say.

    Returns when all replicas answer; `ray.serve.shutdown()` ends it. Raises UserError.
    """
    app = application(settings, replicas, token, **resources)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    import ray
    from ray import serve

    if not ray.is_initialized():
        ray.init(num_cpus=max(replicas, os.cpu_count() or 1), include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": settings.host, "port": settings.port})
    serve.run(app, name=NAME, route_prefix="/")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped. The exit code is that of `soundctm.command.exit_code`."""
    parser = argparse.ArgumentParser(
        prog="python -m soundctm.service.cluster", description="Serve a model by several processes.", allow_abbrev=False
    )
    add_arguments(parser, Settings)
    parser.add_argument("--replicas", type=int, default=2, help="processes that hold the model (default: 2)")

    def act() -> None:
        from soundctm.commands.serve import read_token

        args = parser.parse_args(arguments)
        settings = config_from_args(Settings, args)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        start(settings, args.replicas, read_token(settings))
        log.info("listening at http://%s:%d, %d replicas", settings.host, settings.port, args.replicas)
        ended.wait()
        from ray import serve

        serve.shutdown()

    return exit_code(act)


def _check_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise UserError("several replicas need the Python package ray: pip install soundctm[ray]")


if __name__ == "__main__":
    sys.exit(main())
