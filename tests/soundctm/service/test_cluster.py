"""Two replicas on one machine: they share the work, and one that is killed is not missed for long."""

import importlib.util
import io
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from soundctm.errors import UserError
from soundctm.service import Settings, cluster

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs soundctm[ray]")


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install soundctm\[ray\]"):
        cluster.application(Settings())


@needs_ray
def test_options_of_the_builder_are_checked(monkeypatch):
    monkeypatch.delenv("SOUNDCTM_TOKEN", raising=False)
    for given, sentence in (
        ({"replicas": "two"}, "are numbers"), ({"que": "3"}, "unknown configuration key"),
        ({"host": "0.0.0.0"}, "needs a token"), ({"queue": "0"}, "queue is 0"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=sentence):
            cluster.build(given)


def replicas():
    """Numbers of the processes that hold a model."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if command.read_bytes().startswith(f"ray::ServeReplica:{cluster.NAME}".encode()):
                found.append(int(command.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return found


@needs_ray
@pytest.mark.slow
def test_two_replicas_and_one_of_them_killed(pipe, tmp_path_factory, monkeypatch):
    import ray
    from ray import serve

    folder = tmp_path_factory.mktemp("cluster")
    pipe.save_pretrained(folder / "checkpoint")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else Ray writes a token into the user's folder
    monkeypatch.setenv("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "120")  # busy machines
    monkeypatch.setenv("RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S", "120")
    settings = Settings(port=port, checkpoint=str(folder / "checkpoint"), device="cpu")
    address = f"http://127.0.0.1:{port}"

    def ask(seed):
        """A sound, asked for again where a replica was lost."""
        with httpx.Client(base_url=address, timeout=120) as client:
            for _ in range(60):
                try:
                    answer = client.post("/v1/generate", json={"prompt": "rain", "seed": seed, "bits": 32})
                except httpx.TransportError:
                    answer = None
                if answer is not None and answer.status_code == 200:
                    return soundfile.read(io.BytesIO(answer.content), dtype="float32")[0]
                time.sleep(0.5)
        raise AssertionError(answer and answer.text)

    try:
        cluster.start(settings, 2)
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(ask, range(16)))
            first = replicas()
            assert len(first) == 2
            asked = [threads.submit(ask, seed) for seed in range(16, 48)]
            os.kill(first[0], signal.SIGKILL)
            made += [one.result() for one in asked]
        for seed, audio in enumerate(made):
            np.testing.assert_allclose(audio, pipe("rain", seed=[seed]).audios[0], atol=1e-4)
        end = time.monotonic() + 120
        while len(replicas()) < 2 or first[0] in replicas():
            assert time.monotonic() < end, "the killed replica was not started again"
            time.sleep(0.5)
        with httpx.Client(base_url=address) as client:
            answer = client.post("/v1/generate", json={"prompt": "rain", "wait": False})
            assert answer.status_code == 400 and "keeps no jobs" in answer.json()["error"]
            assert client.get("/health", headers={"Host": "evil.example"}).status_code == 403
    finally:
        if ray.is_initialized():
            serve.shutdown()
            ray.shutdown()
