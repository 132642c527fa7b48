"""Clients of `benchmarks.service`: honest ones that ask for sounds, and hostile ones that try what should not work."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
import soundfile

CAPTIONS = ("a dog barking", "rain on a roof", "wind in the trees", "an alarm clock ringing")
SEEDS = 6  # of a caption; the same sounds are asked for again and again, by different clients at the same time
EDITED, REGION = "a door", (0.2, 0.4)  # share of the clip that an edit makes anew
JSON = {"Content-Type": "application/json"}
CLOSED = (httpx.TransportError, OSError, asyncio.IncompleteReadError)
Key = tuple[str, int, int, bool]  # caption, seed, steps, is it an edit?


@dataclass
class Seen:
    """What the clients of a phase saw."""

    clips: dict[Key, list[np.ndarray]] = field(default_factory=dict)  # different answers to one question
    latencies: list[float] = field(default_factory=list)  # seconds from asking to having, with the queue
    refused: int = 0  # 429, tried again after the time that was given
    faults: list[str] = field(default_factory=list)
    hostile: Counter[str] = field(default_factory=Counter)

    def take(self, key: Key, content: bytes, seconds: float) -> None:
        """An answer; one that differs from an earlier one by more than rounding is kept as well."""
        audio = soundfile.read(io.BytesIO(content), dtype="int16")[0].astype(np.int32)
        known = self.clips.setdefault(key, [])
        if not any(len(one) == len(audio) and np.abs(one - audio).max() <= 4 for one in known):
            known.append(audio)
        self.latencies.append(seconds)


async def honest(address: str, seen: Seen, until: float, draw: random.Random, upload: bytes, steps: tuple[int, ...]):
    """Ask for one sound after another: at once, as a job with events, now and then an edit."""
    async with httpx.AsyncClient(base_url=address, timeout=600) as client:
        while time.monotonic() < until:
            key = (
                draw.choice(CAPTIONS),
                draw.randrange(SEEDS),
                draw.choice(steps),
                bool(upload) and draw.random() < 0.1,
            )
            begun = time.monotonic()
            content = await _asked(client, key, upload, seen, as_job=draw.random() < 0.25)
            if content is not None:
                seen.take(key, content, time.monotonic() - begun)


async def _asked(client: httpx.AsyncClient, key: Key, upload: bytes, seen: Seen, as_job: bool) -> bytes | None:
    caption, seed, steps, is_edit = key
    asked = {"prompt": caption, "seed": seed, "steps": steps, "wait": not as_job}
    while True:
        if is_edit:
            asked |= {"operation": "inpaint", "prompt": EDITED, "regions": [_region(upload)]}
            form = {"data": {"request": json.dumps(asked)}, "files": {"audio": ("a.wav", upload)}}
            answer = await client.post("/v1/edit", **form)
        else:
            answer = await client.post("/v1/generate", json=asked)
        if answer.status_code != 429:
            break
        seen.refused += 1
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    if as_job and answer.status_code == 202:
        events = await client.get(answer.json()["events"])
        if "event: done" not in events.text or events.text.count("event: clip") != 1:
            seen.faults.append(f"a job ended without its clip: {events.text[-300:]}")
            return None
        answer = await client.get(f"{answer.json()['url']}/clips/0")
    if answer.status_code != 200:
        seen.faults.append(f"{key}: {answer.status_code} {answer.text[:200]}")
        return None
    return answer.content


def _region(upload: bytes) -> list[float]:
    seconds = soundfile.info(io.BytesIO(upload)).duration
    return [share * seconds for share in REGION]


# hostile ones: each is a coroutine of (client, address, draw), which gives the status it got, 0 for a closed connection


async def _too_large(client, address, draw):
    return (await client.post("/v1/generate", content=b"a" * (33 << 20), headers=JSON)).status_code


async def _too_large_in_pieces(client, address, draw):
    async def pieces():
        for _ in range(40):
            yield b"a" * (1 << 20)

    return (await client.post("/v1/edit", content=pieces(), headers=JSON)).status_code


async def _slow_body(client, address, draw):
    head = b"POST /v1/generate HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n"
    return await _drip(address, head, b" " * draw.randrange(4, 40))


async def _slow_head(client, address, draw):
    return await _drip(address, b"GET /health HTTP/1.1\r\n", b"X-A: 1\r\n" * draw.randrange(1, 8))


async def _garbage(client, address, draw):
    return await _drip(address, draw.randbytes(400), b"", 0)


async def _broken_form(client, address, draw):
    content = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n' + draw.randbytes(2000)
    kind = {"Content-Type": f"multipart/form-data; boundary={draw.choice(['x', 'y', ''])}"}
    return (await client.post("/v1/edit", content=content, headers=kind)).status_code


async def _wrong_types(client, address, draw):
    value = draw.choice(["3", -1, 1e9, None, [], {}, True, "x" * 100_000, [[[[]]]] * 50])
    name = draw.choice(["steps", "seconds", "seed", "omega", "variants", "sampler", "prompt", "blend", "control"])
    asked = {"prompt": "a", "wait": False, "steps": 1, name: value}
    answer = await client.post("/v1/generate", json=asked)
    if answer.status_code == 202:  # a value that is none of the wrong ones
        await client.delete(answer.json()["url"])
        return 400
    return answer.status_code


async def _path_names(client, address, draw):
    path = draw.choice(["/v1/jobs/..%2f..%2fetc%2fpasswd", "/..%2f..%2fetc/passwd", "/v1/jobs/x/clips/../../x", "/%00"])
    if draw.random() < 0.5:
        return (await client.get(path)).status_code
    asked = {"operation": "vary", "prompt": "a", "strength": "0.5"}
    files = {"audio": ("../../../etc/passwd\x00.wav", b"root:x:0:0")}
    return (await client.post("/v1/edit", data=asked, files=files)).status_code


async def _deep(client, address, draw):
    content = b'{"prompt": ' + b"[" * 50_000
    return (await client.post("/v1/generate", content=content, headers=JSON)).status_code


async def _foreign(client, address, draw):
    headers = draw.choice(
        [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
    )
    return (await client.post("/v1/generate", json={"prompt": "a"}, headers=headers)).status_code


async def _bomb(client, address, draw):
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(200 * 8000, np.int16), 8000, format="FLAC")  # 200 s in a few kB
    asked = {"operation": "vary", "prompt": "a", "strength": "0.5"}
    return (await client.post("/v1/edit", data=asked, files={"audio": silence.getvalue()})).status_code


async def _gone(client, address, draw):
    """Ask for much, and go away while it is made."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(draw.uniform(0.05, 0.5)):
            await client.post("/v1/generate", json={"prompt": "gone", "steps": 16, "variants": 2})
    return 0


async def _drip(address: str, head: bytes, rest: bytes, pause: float = 0.5) -> int:
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(head.replace(b"HOST", f"{host}:{port}".encode()))
        for byte in rest:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)
        if pause:
            writer.write_eof()
        async with asyncio.timeout(60):
            line = await reader.readline()
        return int(line.split()[1]) if line.startswith(b"HTTP/") else 0
    finally:
        writer.close()


Hostile = Callable[[httpx.AsyncClient, str, random.Random], Awaitable[int]]
KINDS: dict[Hostile, tuple[int, ...]] = {  # what each may get
    _too_large: (413, 0), _too_large_in_pieces: (413, 0), _slow_body: (400, 408, 0), _slow_head: (400, 0),
    _garbage: (400, 0), _broken_form: (400,), _wrong_types: (400, 429), _path_names: (400, 404), _deep: (400,),
    _foreign: (403,), _bomb: (400,), _gone: (0, 429),
}  # fmt: skip


async def hostile(address: str, seen: Seen, until: float, draw: random.Random) -> None:
    """Try one thing after another. What gets another answer than it should is a fault."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        while time.monotonic() < until:
            kind = draw.choice(list(KINDS))
            try:
                status = await kind(client, address, draw)
            except CLOSED:
                status = 0
            name = kind.__name__.strip("_").replace("_", " ")
            seen.hostile[f"{name}: {status or 'closed'}"] += 1
            if status not in (*KINDS[kind], 503):
                seen.faults.append(f"{name} got {status}")
            await asyncio.sleep(draw.uniform(0.05, 0.3))
