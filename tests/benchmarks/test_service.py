"""The load test itself, in its short form: all clients, all hostile kinds, every clip the right one."""

import asyncio
import random

import pytest
from serving import serving
from tiny import write_checkpoint

from benchmarks.service import Report, check, load, sound_to_edit
from benchmarks.service_clients import CLOSED, KINDS, Seen
from soundctm.service import Settings


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    from soundctm.pipeline import SoundCTMPipeline

    pipe = SoundCTMPipeline.from_pretrained(
        write_checkpoint(tmp_path_factory.mktemp("load"), teacher=False), device="cpu"
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_short_load_loses_and_mixes_up_nothing(pipe):
    upload, content = sound_to_edit(pipe)
    with serving(pipe, Settings(port=0, header_s=1, body_s=1)) as (address, app):
        report = asyncio.run(load(address, 4.0, 8, content))
        desk = app.state.desk
        assert desk.waiting == desk.running == 0
    check(report, pipe, upload)
    assert report.is_fine, str(report)
    assert report.checked >= 10 and report.alone > 0 and report.together > 0
    assert any(key[3] for key in report.seen.clips), "no edit was asked for"
    assert "0 wrong" in str(report) and "p99" in str(report)


def test_every_hostile_kind_gets_what_it_should(pipe):
    import httpx

    async def each(address):
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            for kind, allowed in KINDS.items():
                try:
                    status = await kind(client, address, random.Random(0))
                except CLOSED:
                    status = 0
                assert status in allowed, (kind.__name__, status)

    with serving(pipe, Settings(port=0, header_s=1, body_s=1)) as (address, _):
        asyncio.run(each(address))


def test_a_wrong_clip_is_noticed(pipe):
    upload, _ = sound_to_edit(pipe)
    right, wrong = ("a dog barking", 0, 1, False), ("rain on a roof", 0, 1, False)
    own = (pipe("a dog barking", 1, seed=[0]).audios[0] * 2**15).round().astype("int32")
    report = Report(seen=Seen(clips={right: [own], wrong: [own]}))
    check(report, pipe, upload)
    assert report.wrong == [wrong] and not report.is_fine and report.checked == 2
