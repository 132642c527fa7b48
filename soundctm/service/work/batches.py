"""Which of the clips that wait are made together: those of the oldest job, and others that need the same calls.

A clip does not depend on its batch (each has a generator of its own), so this decides about speed alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from soundctm.inference.generate import generated_seconds
from soundctm.service.work.jobs import Job
from soundctm.service.work.wanted import Wanted


class Row(NamedTuple):
    """A clip to make: the job, and which of its clips."""

    job: Job
    index: int

    @property
    def seed(self) -> int:
        return self.job.seeds[self.index]


def made_seconds(wanted: Wanted, codec) -> float | None:
    """What the pipeline is asked for, None being its own length.

    As `soundctm generate` does it: a shorter clip is cut from one of the model's own length, beginning at its onset.
    Where times count, because a curve is followed, it is cut at its end alone. A loop must not be cut at all, so it is
    made of as many whole latent frames as come nearest.
    """
    if wanted.seconds is None or not (wanted.loop or wanted.control):
        return generated_seconds(codec, wanted.seconds)
    if not wanted.loop:
        return wanted.seconds
    frame = codec.samples_per_latent / codec.sampling_rate
    return max(1, round(wanted.seconds / frame)) * frame


def key_of(job: Job, codec) -> Hashable:
    """Equal for clips that can be made in one call."""
    wanted = job.wanted
    if wanted.edit is not None or is_alone(wanted):
        return job.id
    blend = None if wanted.blend is None else wanted.blend.model_dump_json()
    return made_seconds(wanted, codec), wanted.settings, wanted.loop, blend


def is_alone(wanted: Wanted) -> bool:
    """Is a clip made in a call of its own?

    A blend's second seed counts the captions of its call; guidance along a curve makes much of the last digits, which
    do depend on the batch.
    """
    return wanted.control is not None or (wanted.blend is not None and wanted.blend.seed is not None)


def seconds_of(wanted: Wanted, codec) -> float:
    """Seconds that are made of a clip."""
    if wanted.edit is not None:
        return wanted.edit.length
    return made_seconds(wanted, codec) or codec.default_seconds


def take_batch(waiting: Iterable[Job], most: int, codec) -> list[Row]:
    """The next batch: at most `most` clips of the codec's own length, or as many seconds of longer ones; at least one.

    Takes the clips out of `pending` of their jobs.
    """
    rows: list[Row] = []
    key, room = None, most * codec.default_seconds
    for job in waiting:
        if not job.pending:
            continue
        if not rows:
            key = key_of(job, codec)
            if is_alone(job.wanted):
                return [Row(job, job.pending.pop(0))]
        elif key_of(job, codec) != key:
            continue
        each = max(seconds_of(job.wanted, codec), codec.default_seconds)
        while job.pending and len(rows) < most and (each <= room or not rows):
            rows.append(Row(job, job.pending.pop(0)))
            room -= each
        if len(rows) == most or room <= 0:
            break
    return rows
