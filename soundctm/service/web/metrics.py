"""What Prometheus is told: requests, clips, batches, the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from soundctm.service.work.jobs import OVER, Job

if TYPE_CHECKING:
    from soundctm.service.work.desk import Desk

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Of one application."""

    def __init__(self, desk: Desk) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"soundctm_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple, *labels: str) -> Histogram:
            return Histogram(f"soundctm_{name}", text, labels, buckets=buckets, registry=self.registry)

        self.requests = counter("requests", "requests by route, method and status", "route", "method", "status")
        self.latency = histogram("request_seconds", "from a request's head to the end of its answer", SECONDS, "route")
        self.clips = counter("clips", "clips that were made")
        self.sound = counter("sound_seconds", "seconds of sound that were made")
        self.jobs = counter("jobs", "jobs that are over, by how they ended", "status")
        self.job_seconds = histogram("job_seconds", "from a job's coming to its end", SECONDS)
        self.batches = histogram("batch_clips", "clips of a batch", SIZES)
        self.batch_seconds = histogram("batch_seconds", "time that a batch took", SECONDS)
        for status in OVER:
            self.jobs.labels(status)
        for name, text, value in (
            ("waiting_clips", "clips that wait", lambda: desk.waiting),
            ("running_clips", "clips that are being made", lambda: desk.running),
            ("kept_jobs", "jobs that are known", lambda: len(desk.jobs)),
            ("seconds_per_unit", "seconds that a network call or a decoding takes", lambda: desk.pace.seconds),
        ):  # fmt: skip
            Gauge(f"soundctm_{name}", text, registry=self.registry).set_function(value)
        desk.on_batch.append(self._batch)
        desk.on_end.append(self._end)

    def _batch(self, clips: int, seconds: float) -> None:
        self.batches.observe(clips)
        self.batch_seconds.observe(seconds)

    def _end(self, job: Job) -> None:
        self.jobs.labels(job.status).inc()
        self.job_seconds.observe((job.finished or job.created) - job.created)
        for clip in job.clips.values():
            self.clips.inc()
            self.sound.inc(clip.seconds)

    def answer(self) -> Response:
        """The text that Prometheus reads."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Counts what goes through it."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            begun, status = time.perf_counter(), "none"

            async def noticed(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            try:
                await app(scope, receive, noticed)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "PATCH", "HEAD") else "other"
                self.requests.labels(route, method, status).inc()
                self.latency.labels(route).observe(time.perf_counter() - begun)

        return counted
