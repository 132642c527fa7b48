"""Bodies that are too large, too slow, broken, or no sound."""

import base64
import io
import json
import socket
import time

import httpx
import numpy as np
import pytest
import soundfile
from serving import serving

from soundctm.service import Settings
from soundctm.service.web.incoming import decoded
from soundctm.service.work.wanted import Refused

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def strict(pipe):
    settings = Settings(port=0, max_upload_mib=0.5, body_s=0.6, header_s=0.5, send_s=0.5, max_seconds=5)
    with serving(pipe, settings) as found:
        yield found


def talk(address, *pieces, pause=0.0, read=True, seconds=10.0):
    """What the server answers to raw bytes; an empty answer when it ends the connection."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        answer = b""
        try:
            for piece in pieces:
                connection.sendall(piece.replace(b"HOST", f"{host}:{port}".encode()))
                time.sleep(pause)
            while read and (more := connection.recv(65536)):
                answer += more
        except ConnectionError:
            pass
        return answer


HEAD = b"POST /v1/generate HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1]", "list"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"prompt": "a", "prompt": "b"}', "twice"),
        (b'{"prompt": "a", "omega": NaN}', "NaN"),
        (b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", ""),
        (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
        (b'{"prompt": "\\ud800"}', ""),
    ],
)
def test_json_that_is_none(client, content, sentence):
    answer = client.post("/v1/generate", content=content, headers=JSON)
    assert answer.status_code == 400 and sentence in answer.json()["error"], answer.text
    assert len(answer.json()["error"]) < 300


def test_bodies_over_the_limit_are_refused_before_and_while_they_come(strict):
    big = b'{"prompt": "' + b"a" * 600_000 + b'"}'
    with httpx.Client(base_url=strict[0]) as client:
        answer = client.post("/v1/generate", content=big, headers=JSON)
        assert answer.status_code == 413 and "524288 bytes" in answer.json()["error"]
        answer = client.post("/v1/generate", content=iter([big[:300_000], big[300_000:]]), headers=JSON)
        assert answer.status_code == 413
        answer = client.post("/v1/edit", data={"operation": "vary"}, files={"audio": b"a" * 600_000})
        assert answer.status_code == 413
    answer = talk(strict[0], HEAD + b"Content-Length: 999999999999\r\n\r\n")
    assert b"413" in answer.splitlines()[0]


def test_a_slow_body_and_a_slow_head_are_ended(strict):
    answer = talk(strict[0], HEAD + b"Content-Length: 20\r\n\r\n", b"{", pause=0.1)
    assert b"408" in answer.splitlines()[0] and b"did not come within 0.6 s" in answer
    begun = time.monotonic()
    assert talk(strict[0], b"POST /v1/gen") == b""
    assert talk(strict[0], b"") == b""
    drop = [b"GET /health HTTP/1.1\r\n"] + [b"X-%d: 1\r\n" % k for k in range(40)]
    assert talk(strict[0], *drop, pause=0.05) == b""
    again = b"GET /health HTTP/1.1\r\nHost: HOST\r\n\r\n"
    assert talk(strict[0], again, b"GET /hea", pause=0.1).count(b"HTTP/1.1 200") == 1
    assert time.monotonic() - begun < 8


def test_a_client_that_does_not_read_is_ended(strict, pipe):
    address, app = strict
    with httpx.Client(base_url=address) as client:
        asked = {"prompt": "a", "seconds": 2, "bits": 32, "variants": 8, "steps": 1}
        job = client.post("/v1/generate", json=asked | {"wait": False}).json()
        client.get(job["events"])
    host, port = address.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        line = f"GET {job['url']}/clips/%d?bits=32 HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n"
        connection.sendall("".join(line % (k % 8) for k in range(64)).encode())
        time.sleep(1.2)  # nothing is read meanwhile
        received = 0
        try:
            while more := connection.recv(1 << 20):
                received += len(more)
        except ConnectionError:
            pass
    assert received < 64 * 2 * 16000 * 4


@pytest.mark.parametrize(
    "sent, code",
    [
        (HEAD + b"Content-Length: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET /health HTTP/1.0\r\n\r\n", 403),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_what_is_no_http(strict, sent, code):
    answer = talk(strict[0], sent)
    assert f" {code} ".encode() in answer.splitlines()[0], answer


def form(*parts, end=b"--x--\r\n"):
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + end


FILE = b'Content-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'


@pytest.mark.parametrize(
    "content, boundary",
    [
        (b"", b"x"),
        (b"nothing", b"x"),
        (form(FILE + b"abc", end=b""), b"x"),
        (form(FILE + b"abc"), b"y"),
        (form(FILE + b"abc"), b""),
        (form(b'Content-Disposition: form-data; name="request"\r\n\r\n{'), b"x"),
        (form(b'Content-Disposition: form-data; name="request"\r\n\r\n{"operation": "vary"}'), b"x"),
        (form(b'Content-Disposition: form-data; name="audio"\r\n\r\ntext'), b"x"),
        (form(FILE + b"abc", FILE + b"abc"), b"x"),
        (form(*[b'Content-Disposition: form-data; name="a%d"\r\n\r\n1' % k for k in range(99)]), b"x"),
        (form(b'Content-Disposition: form-data; name="prompt"; filename="../../x"\r\n\r\n1'), b"x"),
        (form(b"Content-Disposition: nothing\r\n\r\n1"), b"x"),
    ],
)
def test_forms_that_are_none(client, content, boundary):
    kind = b"multipart/form-data" + (b"; boundary=" + boundary if boundary else b"")
    answer = client.post("/v1/edit", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 400 and set(answer.json()) == {"error", "field"}, answer.text


def test_a_body_that_ends_early_and_a_client_that_goes(client, service):
    answer = talk(service[0], HEAD + b"Content-Length: 2000\r\n\r\n{", read=False)
    assert answer == b""
    big = json.dumps({"prompt": "gone", "steps": 64, "seconds": 20, "variants": 8}).encode()
    talk(service[0], HEAD + b"Content-Length: %d\r\n\r\n" % len(big) + big, pause=0.3, read=False)
    end = time.monotonic() + 10
    while not any(j.wanted.prompt == "gone" and j.status == "cancelled" for j in service[1].state.desk.jobs.values()):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert client.post("/v1/generate", json={"prompt": "a"}).status_code == 200


def coded(content):
    asked = {"operation": "vary", "prompt": "a", "strength": 0.5}
    return {**asked, "audio": content if isinstance(content, str) else base64.b64encode(content).decode()}


def file(audio, rate, **how):
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, rate, **how)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("%%%", "no base64"),
        (b"", "cannot be read as a sound file"),
        (b"RIFF" + bytes(100), "cannot be read as a sound file"),
        (b"#!/bin/sh\n", "cannot be read as a sound file"),
        (file(np.zeros(0), 16000, format="WAV"), "holds no samples"),
        (file(np.full(99, np.nan), 16000, format="WAV", subtype="FLOAT"), "NaN"),
        (file(np.zeros(61 * 8000), 8000, format="FLAC"), "is longer than 60 s"),
    ],
)
def test_sounds_that_are_none(client, content, sentence):
    answer = client.post("/v1/edit", json=coded(content))
    assert answer.status_code == 400 and answer.json()["field"] == "audio"
    assert sentence in answer.json()["error"]


def test_a_small_file_that_unfolds_is_not_unfolded():
    """Hours of silence in a flac of some kilobytes; many channels at a rate that nobody has."""
    silence = file(np.zeros((2**22, 8), np.int16), 192_000, format="FLAC")
    assert len(silence) < 200_000
    with pytest.raises(Refused, match="is longer than"):
        decoded(silence, 1.0)
    many = file(np.zeros((2**17, 200), np.int16), 192_000, format="WAV")
    with pytest.raises(Refused, match="is longer than"):
        decoded(many, 600.0)


def test_much_at_once_is_refused_for_a_while(pipe, monkeypatch):
    from soundctm.service.web import guard

    monkeypatch.setattr(guard, "MOST_AT_ONCE", 200_000)
    with serving(pipe) as (address, app), httpx.Client(base_url=address) as client:
        answer = client.post("/v1/edit", json=coded("A" * 300_000))
        assert answer.status_code == 503 and answer.headers["retry-after"] == "5"
        assert client.post("/v1/edit", json=coded("A" * 150_000)).status_code == 400
        assert client.post("/v1/edit", json=coded("A" * 150_000)).status_code == 400  # what was held is given back
