"""The desk of jobs: a bounded queue, one thread that makes batch after batch, and the finished jobs that are kept.

Jobs come from any thread; the pipeline is used by one. Whoever waits for a job listens to it (`Job.listeners`).
"""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from soundctm.errors import UserError
from soundctm.seeds import clip_seed
from soundctm.service.work import jobs
from soundctm.service.work.batches import Row, take_batch
from soundctm.service.work.jobs import Clip, Job
from soundctm.service.work.making import make_batch
from soundctm.service.work.pace import Pace
from soundctm.service.work.wanted import Refused, Wanted

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline
    from soundctm.service.settings import Settings

log = logging.getLogger(__name__)
SEEDS = 2**32  # that are drawn
OnClip = Callable[[Job, int, Clip], "dict[str, Any] | None"]


class Stopped(Exception):
    """Nobody waits for the batch any more, or it has taken too long."""


class Desk:
    """Takes jobs (`submit`), makes them, keeps them for a while. `start` and `stop` it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pipe: SoundCTMPipeline | None = None
        self.jobs: dict[str, Job] = {}  # all that are known, the oldest first
        self.on_clip: list[OnClip] = []  # called after each clip; what they return is merged in the clip's JSON
        self.on_batch: list[Callable[[int, float], None]] = []  # (clips, seconds it took)
        self.on_end: list[Callable[[Job], None]] = []  # of each job that is over
        self.pace = Pace()
        self.stopping = False
        self._waiting: list[Job] = []
        self._rows: list[Row] = []  # of the batch that is being made
        self._begun = 0.0
        self._changed = threading.Condition()
        self._maker = ThreadPoolExecutor(1, "maker")
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)

    # for clients

    def submit(self, wanted: Wanted) -> Job:
        """A job that makes `wanted`. Raises Refused when the queue is full, with the time until there is room."""
        seed = secrets.randbelow(SEEDS) if wanted.seed is None else wanted.seed
        seeds = [seed, *(clip_seed(seed, "variant", k) % SEEDS for k in range(1, wanted.variants))]
        job = Job(wanted, seeds)
        with self._changed:
            if self.stopping:
                raise Refused("the service is stopping", code=503)
            self._check_room(wanted, len(seeds))
            self.jobs[job.id] = job
            self._waiting.append(job)
            self._place()
            self._changed.notify_all()
        return job

    def cancel(self, job: Job) -> bool:
        """End a job: at once when it waits, at the next step when it runs. False when it was over already."""
        with self._changed:
            if job.is_over:
                return False
            self._end(job, jobs.CANCELLED)
            return True

    @property
    def waiting(self) -> int:
        """Clips that wait."""
        return sum(len(job.pending) for job in self._waiting)

    @property
    def running(self) -> int:
        """Clips of the batch that is being made."""
        return len(self._rows)

    # its life

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more jobs, give up those that wait, finish those that have begun. Returns at once; see `join`."""
        with self._changed:
            self.stopping = True
            for job in list(self._waiting):
                if len(job.pending) == len(job.seeds):
                    self._end(job, jobs.FAILED, "the service is stopping", 503)
            self._changed.notify_all()

    def join(self, seconds: float | None = None) -> None:
        """Wait until what runs is finished."""
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._maker.shutdown(wait=False)

    def use(self, pipe: SoundCTMPipeline) -> None:
        """Make what waits with `pipe`."""
        with self._changed:
            self.pipe = pipe
            self._changed.notify_all()

    def tidy(self) -> None:
        """Give up jobs that have waited too long, and let go of finished ones over the limits. Call it regularly."""
        now, settings = time.monotonic(), self.settings
        with self._changed:
            for job in list(self._waiting):
                if now - job.created > settings.wait_s and len(job.pending) == len(job.seeds):
                    self._end(job, jobs.FAILED, f"its turn did not come within {settings.wait_s:g} s", 503)
            over = [job for job in self.jobs.values() if job.is_over]
            held = sum(job.size for job in over)
            for number, job in enumerate(over):
                left = len(over) - number
                if (
                    now - (job.finished or now) > settings.kept_s
                    or left > settings.kept_jobs
                    or held > settings.kept_mib * 2**20
                ):
                    held -= job.size
                    del self.jobs[job.id]

    # the thread

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting and self.pipe is not None):
                    if self.stopping:
                        return
                    self._changed.wait()
                self._rows = take_batch(self._waiting, self.settings.batch, self.pipe.codec)
                self._begun = time.monotonic()
                for row in self._rows:
                    row.job.status = jobs.RUNNING
                self._place()
            self._make(self._rows)
            with self._changed:
                self._rows = []
                self._place()

    def _make(self, rows: list[Row]) -> None:
        """Make a batch. One that fails is made again row by row, so that a clip fails alone."""
        error = self._maker.submit(self._deliver, rows).exception()
        if error is None or isinstance(error, Stopped):
            return
        rows = [row for row in rows if not row.job.is_over and row.index not in row.job.clips]
        if len({row.job.id for row in rows}) > 1:
            for row in rows:
                self._make([row])
            return
        for job in {row.job.id: row.job for row in rows}.values():
            if isinstance(error, UserError):
                self.end(job, jobs.FAILED, str(error), 400)
            else:
                log.error("a job failed: %r", error, exc_info=error)
                self.end(
                    job, jobs.FAILED, f"the service failed at this ({type(error).__name__}); its log says more", 500
                )

    def _deliver(self, rows: list[Row]) -> None:
        """In the maker's thread: make the clips, and hand each over when it is there."""
        begun, made = time.monotonic(), 0

        def on_step(share: float) -> None:
            if all(row.job.is_over for row in rows):
                raise Stopped
            if time.monotonic() - begun > self.settings.make_s:
                for job in {row.job.id: row.job for row in rows}.values():
                    self.end(job, jobs.FAILED, f"it took longer than {self.settings.make_s:g} s", 503)
                raise Stopped
            for job in {row.job.id: row.job for row in rows}.values():
                self._progress(job, rows, share)

        if all(row.job.is_over for row in rows):
            return
        for row, clip in make_batch(self.pipe, rows, on_step):
            made += 1
            if not row.job.is_over:
                self._hand_over(row, clip)
        took = time.monotonic() - begun
        self.pace.measured([row.job.wanted for row in rows], self.pipe.codec, took)
        for listener in self.on_batch:
            listener(len(rows), took)

    def _hand_over(self, row: Row, clip: Clip) -> None:
        for hook in self.on_clip:
            try:
                clip.extra |= hook(row.job, row.index, clip) or {}
            except (UserError, OSError) as error:  # a full disk takes no sound away
                clip.warnings.append(str(error))
        with self._changed:
            job = row.job
            if job.is_over:
                return
            job.clips[row.index] = clip
            if len(job.clips) == len(job.seeds):
                job.progress = 1.0
                self._end(job, jobs.DONE)
            else:
                job.changed()

    def _progress(self, job: Job, rows: list[Row], share: float) -> None:
        count = sum(row.job is job for row in rows)
        before = len(job.clips)
        if share < 1:
            job.progress = max(job.progress, (before + count * share) / len(job.seeds))
        job.changed()

    def end(self, job: Job, status: str, error: str | None = None, code: int = 500) -> None:
        """Bring a job to its end, unless it is there already."""
        with self._changed:
            if not job.is_over:
                self._end(job, status, error, code)

    def _end(self, job: Job, status: str, error: str | None = None, code: int = 500) -> None:
        job.status, job.error, job.code, job.finished = status, error, code, time.monotonic()
        job.pending.clear()
        for hook in self.on_end:
            hook(job)
        self._place()
        job.changed()

    def _place(self) -> None:
        """Where everybody stands in the queue; those that have nothing left to wait for leave it."""
        self._waiting = [job for job in self._waiting if job.pending]
        ahead = len(self._rows)
        for job in self._waiting:
            if job.position != ahead:
                job.position = ahead
                job.changed()
            ahead += len(job.pending)

    def _check_room(self, wanted: Wanted, clips: int) -> None:
        """Raises Refused where the queue has no room for so many clips, or for the sound that came along."""
        over = self.waiting + clips - self.settings.queue
        sounds = wanted.size + sum(job.wanted.size for job in self._waiting)
        if over <= 0 and (sounds <= self.settings.kept_mib * 2**20 or not self._waiting):
            return
        before = [job.wanted for job in self._waiting for _ in job.pending][: max(1, over)]
        running = [row.job.wanted for row in self._rows if not row.job.is_over]
        seconds = self.pace.seconds_for(running) - (time.monotonic() - self._begun if running else 0.0)
        seconds = max(1, math.ceil(max(0.0, seconds) + self.pace.seconds_for(before)))
        raise Refused(
            f"{self.waiting} clips wait, and there is room for {self.settings.queue}; try again in {seconds} s",
            code=429,
            headers={"Retry-After": str(seconds)},
        )


@contextlib.contextmanager
def listening(job: Job, listener: Callable[[], None]):
    """`listener` hears of every change of `job` inside of the block."""
    job.listeners.append(listener)
    try:
        yield
    finally:
        job.listeners.remove(listener)
