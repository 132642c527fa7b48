"""Batches through a real pipeline: a clip is the same whatever it is made with."""

import numpy as np
import pytest

from soundctm.service import Job, Settings
from soundctm.service.bodies import GenerateBody
from soundctm.service.web.incoming import checked
from soundctm.service.work import making
from soundctm.service.work.batches import key_of, seconds_of, take_batch
from soundctm.service.work.making import make_batch
from soundctm.service.work.wanted import wanted_sound


def job(pipe, prompt="a", seeds=(1,), **asked):
    wanted = wanted_sound(checked(GenerateBody, {"prompt": prompt, **asked}), Settings(), pipe)
    return Job(wanted, list(seeds))


def made(pipe, jobs, most=16):
    rows = take_batch(jobs, most, pipe.codec)
    return {(row.job.id, row.index): clip for row, clip in make_batch(pipe, rows, lambda share: None)}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"steps": 3, "sampler": "gamma_multistep", "gamma": 0.7},
        {"nu": 1.4},
        {"blend": {"prompt": "wind"}},
        {"loop": True, "seconds": 0.5},
        {"seconds": 1.4},
    ],
)
def test_a_clip_of_a_batch_is_the_one_made_alone(pipe, asked):
    captions = ["a dog", "rain", "a dog", "wind in the trees at night"]
    jobs = [job(pipe, caption, [k], **asked) for k, caption in enumerate(captions)]
    assert len({key_of(one, pipe.codec) for one in jobs}) == 1
    together = made(pipe, jobs)
    assert len(together) == 4
    for k, caption in enumerate(captions):
        one = job(pipe, caption, [k], **asked)
        alone = made(pipe, [one])[one.id, 0]
        clip = together[jobs[k].id, 0]
        assert clip.seed == alone.seed == k
        np.testing.assert_allclose(clip.audio, alone.audio, atol=1e-4)


def test_a_negative_prompt_stays_with_its_own_clip(pipe):
    jobs = [job(pipe, "a", [1], nu=1.5, negative_prompt="wind"), job(pipe, "a", [1], nu=1.5)]
    assert key_of(jobs[0], pipe.codec) == key_of(jobs[1], pipe.codec)
    clips = list(made(pipe, jobs).values())
    np.testing.assert_allclose(clips[0].audio, pipe("a", seed=[1], nu=1.5, negative_prompt="wind").audios[0], atol=1e-4)
    np.testing.assert_allclose(clips[1].audio, pipe("a", seed=[1], nu=1.5).audios[0], atol=1e-4)


def test_what_differs_in_the_calls_is_not_made_together(pipe):
    different = [
        {}, {"steps": 2}, {"omega": 5.0}, {"nu": 1.3}, {"loop": True}, {"seconds": 1.0}, {"sampler": "cm_multistep"},
        {"blend": {"prompt": "b"}}, {"control": {"points": [[0, -10]]}},
    ]  # fmt: skip
    jobs = [job(pipe, **asked) for asked in different]
    assert len({key_of(one, pipe.codec) for one in jobs}) == len(jobs)
    assert [row.job for row in take_batch(jobs, 16, pipe.codec)] == jobs[:1]


def test_shorter_clips_are_made_with_whole_ones(pipe):
    assert key_of(job(pipe, seconds=0.3), pipe.codec) == key_of(job(pipe), pipe.codec)


@pytest.mark.parametrize("asked", [{"blend": {"seed": 5}}, {"control": {"points": [[0, -40], [0.6, -10]]}}])
def test_what_depends_on_its_batch_is_made_one_by_one(pipe, asked):
    one = job(pipe, seeds=[1, 2], **asked)
    assert [len(take_batch([one], 16, pipe.codec)) for _ in range(3)] == [1, 1, 0]


def test_long_clips_make_small_batches(pipe):
    jobs = [job(pipe, seeds=[k], seconds=2.56) for k in range(8)]
    assert seconds_of(jobs[0].wanted, pipe.codec) == pytest.approx(2.56)
    assert len(take_batch(jobs, 8, pipe.codec)) == 2


def test_of_cancelled_clips_nothing_is_decoded(pipe, monkeypatch):
    jobs = [job(pipe, seeds=[k]) for k in range(3)]
    monkeypatch.setattr(making, "decoded_at_once", lambda device: 1)
    decoded = []
    decode = pipe.decode
    monkeypatch.setattr(pipe, "decode", lambda z, **more: decoded.append(len(z)) or decode(z, **more))
    rows = take_batch(jobs, 8, pipe.codec)
    for number, _ in enumerate(make_batch(pipe, rows, lambda share: None)):
        if number == 0:
            jobs[1].status = "cancelled"
    assert number == 1 and sum(decoded) == 2


def test_what_a_step_raises_ends_the_batch(pipe):
    class Enough(Exception):
        pass

    shares = []

    def on_step(share):
        shares.append(share)
        if len(shares) == 2:
            raise Enough

    with pytest.raises(Enough):
        list(make_batch(pipe, take_batch([job(pipe, steps=4)], 1, pipe.codec), on_step))
    assert shares == [pytest.approx(0.2), pytest.approx(0.4)]


def test_remarks_and_silence_go_with_the_clip(pipe, monkeypatch):
    import torch

    monkeypatch.setattr(pipe, "decode", lambda z, loop=False: torch.zeros(len(z), 10240))
    (clip,) = made(pipe, [job(pipe, gamma=0.5)]).values()
    assert "gamma 0.5 has no effect" in clip.warnings[0] and "nearly nothing to hear" in clip.warnings[1]
