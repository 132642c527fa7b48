"""A checkpoint of a few thousand random weights, and the command run in this process."""

import pytest

from soundctm.commands import main


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    from tiny import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def generate(tiny_checkpoint, tmp_path, monkeypatch):
    """`soundctm generate` with the tiny checkpoint, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        own = ("--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--keep_silent")
        return main(["generate", *map(str, arguments), *own])

    return call
