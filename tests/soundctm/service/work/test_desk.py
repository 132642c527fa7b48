"""The desk: what waits is made together, what fails fails alone, what is full says for how long."""

import threading
import time

import numpy as np
import pytest

from soundctm.defaults import Settings as Sampling
from soundctm.errors import UserError
from soundctm.service import Clip, Settings, Wanted
from soundctm.service.work import desk as module
from soundctm.service.work.wanted import Refused

STEPS = Sampling("deterministic", 1, 3.5, 1.0, None)


class Codec:
    default_seconds = 1.0
    samples_per_latent, sampling_rate = 640, 16000


class Pipe:
    codec = Codec()


class Maker:
    """Stands in for `make_batch`: batches wait for `go`, and captions that begin with "bad" fail."""

    def __init__(self):
        self.batches, self.go, self.begun = [], threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, pipe, rows, on_step):
        self.batches.append([row.job.wanted.prompt for row in rows])
        self.begun.release()
        assert self.go.acquire(timeout=10)
        on_step(0.5)
        for row in rows:
            if row.job.wanted.prompt.startswith("bad"):
                raise UserError(f"{row.job.wanted.prompt} cannot be made")
            if row.job.wanted.prompt.startswith("broken"):
                raise RuntimeError("a fault")
            yield row, Clip(np.full(16000, 0.1, np.float32), 16000, row.seed)


@pytest.fixture
def maker(monkeypatch):
    maker = Maker()
    monkeypatch.setattr(module, "make_batch", maker)
    return maker


@pytest.fixture
def start(maker):
    desks = []

    def start(**settings):
        desk = module.Desk(Settings(**settings))
        desk.use(Pipe())
        desk.start()
        desks.append(desk)
        return desk

    yield start
    maker.go.release(100)
    for desk in desks:
        desk.stop()
        desk.join(10)


def wanted(prompt, variants=1, seed=1, **more):
    return Wanted(prompt, more.pop("settings", STEPS), variants=variants, seed=seed, **more)


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def occupied(desk, maker):
    """A job that runs, so that what comes afterwards waits."""
    first = desk.submit(wanted("first"))
    assert maker.begun.acquire(timeout=10)
    return first


def test_what_waits_is_made_together_and_in_the_order_of_the_oldest(start, maker):
    desk = start(batch=4)
    occupied(desk, maker)
    other = Sampling("deterministic", 2, 3.5, 1.0, None)
    waiting = [desk.submit(wanted(name)) for name in "ab"] + [desk.submit(wanted("two", settings=other))]
    waiting += [desk.submit(wanted("c")), desk.submit(wanted("d", variants=3))]
    assert [job.position for job in waiting] == [1, 2, 3, 4, 5]
    maker.go.release(10)
    until(lambda: all(job.status == "done" for job in waiting))
    assert maker.batches == [["first"], ["a", "b", "c", "d"], ["two"], ["d", "d"]]
    assert len(set(waiting[-1].seeds)) == 3 and waiting[-1].seeds[0] == 1
    assert [waiting[-1].clips[k].seed for k in range(3)] == waiting[-1].seeds


def test_a_full_queue_says_for_how_long(start, maker):
    desk = start(queue=3, max_variants=3)
    occupied(desk, maker)
    desk.pace.seconds = 4.0  # of a unit; a clip of one step has two
    desk.submit(wanted("a", variants=3))
    with pytest.raises(Refused, match="3 clips wait, and there is room for 3") as refused:
        desk.submit(wanted("b"))
    assert refused.value.code == 429 and 10 <= int(refused.value.headers["Retry-After"]) <= 16
    maker.go.release(10)
    until(lambda: desk.waiting == 0)
    desk.submit(wanted("b"))


def test_sounds_that_wait_are_bounded_in_bytes(start, maker):
    from soundctm.service.work.wanted import Edit

    desk = start(kept_mib=1)
    occupied(desk, maker)
    edit = Edit("vary", np.zeros(200_000, np.float32), 16000, 0.5)
    desk.submit(wanted("a", edit=edit))
    with pytest.raises(Refused, match="try again in"):
        desk.submit(wanted("b", edit=edit))


def test_a_clip_fails_alone_and_the_others_of_its_batch_are_made(start, maker, caplog):
    desk = start()
    occupied(desk, maker)
    good, bad, broken = (desk.submit(wanted(name)) for name in ("good", "bad one", "broken one"))
    maker.go.release(10)
    until(lambda: all(job.is_over for job in (good, bad, broken)))
    assert good.status == "done"
    assert (bad.status, bad.error, bad.code) == ("failed", "bad one cannot be made", 400)
    assert broken.status == "failed" and broken.code == 500 and "RuntimeError" in broken.error
    assert "a fault" in caplog.text
    again = desk.submit(wanted("after"))
    until(lambda: again.status == "done")


def test_cancelling_what_waits_and_what_runs(start, maker):
    desk = start()
    running = occupied(desk, maker)
    waiting = desk.submit(wanted("a"))
    assert desk.cancel(waiting) and waiting.status == "cancelled" and desk.waiting == 0
    assert desk.cancel(running) and running.status == "cancelled" and not desk.cancel(running)
    maker.go.release(10)
    until(lambda: desk.running == 0)
    assert maker.batches == [["first"]] and not running.clips


def test_a_batch_goes_on_for_those_that_still_want_it(start, maker):
    desk = start()
    occupied(desk, maker)
    jobs = [desk.submit(wanted(name)) for name in "ab"]
    maker.go.release()
    assert maker.begun.acquire(timeout=10)
    desk.cancel(jobs[0])
    maker.go.release(10)
    until(lambda: jobs[1].status == "done")
    assert jobs[0].status == "cancelled" and not jobs[0].clips


def test_stopping_finishes_what_has_begun_and_gives_up_what_waits(start, maker):
    desk = start(batch=1)
    first = desk.submit(wanted("first", variants=2))
    assert maker.begun.acquire(timeout=10)
    waiting = desk.submit(wanted("a"))
    desk.stop()
    assert (waiting.status, waiting.code) == ("failed", 503) and "stopping" in waiting.error
    with pytest.raises(Refused, match="stopping"):
        desk.submit(wanted("b"))
    maker.go.release(10)
    desk.join(10)
    assert first.status == "done" and len(first.clips) == 2


def test_what_takes_too_long_is_given_up(start, maker):
    desk = start(make_s=0.01, wait_s=0.01)
    running = occupied(desk, maker)
    waiting = desk.submit(wanted("a"))
    time.sleep(0.02)
    desk.tidy()
    assert waiting.status == "failed" and "its turn did not come within 0.01 s" in waiting.error
    maker.go.release(10)
    until(lambda: running.is_over)
    assert running.status == "failed" and "took longer" in running.error


def test_finished_jobs_are_kept_within_count_bytes_and_age(start, maker):
    maker.go.release(100)
    desk = start(kept_jobs=3)

    def made(count):
        jobs = [desk.submit(wanted(str(k))) for k in range(count)]
        until(lambda: all(job.is_over for job in jobs))
        return jobs

    jobs = made(5)
    desk.tidy()
    assert list(desk.jobs.values()) == jobs[2:]
    object.__setattr__(desk.settings, "kept_mib", 0.1)  # a clip has 64 kB
    desk.tidy()
    assert list(desk.jobs.values()) == jobs[4:]
    object.__setattr__(desk.settings, "kept_s", 0.0)
    time.sleep(0.01)
    desk.tidy()
    assert not desk.jobs


def test_a_hook_adds_to_a_clip_and_its_fault_takes_no_sound_away(start, maker):
    maker.go.release(100)
    desk = start()
    desk.on_clip.append(lambda job, index, clip: {"history": f"{job.wanted.prompt}/{index}"})

    def full(job, index, clip):
        raise OSError(28, "No space left on device")

    desk.on_clip.append(full)
    job = desk.submit(wanted("a"))
    until(lambda: job.is_over)
    told = job.clip_json(0)
    assert job.status == "done" and told["history"] == "a/0" and "No space left" in told["warnings"][0]


def test_seeds_that_are_drawn_are_told(start, maker):
    maker.go.release(100)
    desk = start()
    seeds = {desk.submit(wanted("a", seed=None)).seeds[0] for _ in range(8)}
    assert len(seeds) == 8 and all(0 <= seed < 2**32 for seed in seeds)


def test_listeners_hear_of_every_change(start, maker):
    desk = start()
    heard = []
    job = desk.submit(wanted("a"))
    with module.listening(job, lambda: heard.append((job.status, job.progress))):
        maker.go.release(10)
        until(lambda: job.is_over)
        until(lambda: heard and heard[-1][0] == "done")
    assert ("running", 0.5) in heard and not job.listeners
