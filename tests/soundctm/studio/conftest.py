"""A history with two clips, and the studio over it with a pipeline of random weights."""

import time
from types import SimpleNamespace

import pytest
from studio_clips import made

from soundctm.studio.history import History


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sounds"


@pytest.fixture
def history(folder):
    """A dog, the older one, and rain."""
    history = History(folder)
    history.add(made("a dog barking", 1), when=1000.0)
    history.add(made("rain", 2), when=2000.0)
    return history


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    from tiny import write_checkpoint

    from soundctm.pipeline import SoundCTMPipeline

    folder = write_checkpoint(tmp_path_factory.mktemp("studio"), teacher=False)
    pipe = SoundCTMPipeline.from_pretrained(folder, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    pipe.folder = folder
    return pipe


@pytest.fixture
def studio(history, pipe):
    """`client` of the application, `history`, and `done(answer)`: the job that an answer has begun, when it is over."""
    from fastapi.testclient import TestClient

    from soundctm.service import Settings
    from soundctm.studio.app import create_studio

    app = create_studio(Settings(), history, pipe, str(pipe.folder))
    with TestClient(app, base_url="http://127.0.0.1:8764") as client:

        def done(answer):
            assert answer.status_code == 202, answer.text
            for _ in range(600):
                job = client.get(answer.json()["url"]).json()
                if job["status"] in ("done", "failed", "cancelled"):
                    return job
                time.sleep(0.02)
            raise AssertionError(job)

        yield SimpleNamespace(client=client, history=history, done=done)
