"""A pipeline of random weights, and the service over it behind real sockets."""

import httpx
import pytest
from serving import serving


@pytest.fixture(scope="session")
def pipe(tmp_path_factory):
    """Clips of 0.64 s, with mel bands, made in milliseconds."""
    from tiny import write_checkpoint

    from soundctm.pipeline import SoundCTMPipeline

    folder = write_checkpoint(tmp_path_factory.mktemp("service"), teacher=False)
    pipe = SoundCTMPipeline.from_pretrained(folder, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def service(pipe):
    with serving(pipe) as found:
        yield found


@pytest.fixture
def client(service):
    """Of a service that its tests share."""
    with httpx.Client(base_url=service[0], timeout=30) as client:
        yield client
