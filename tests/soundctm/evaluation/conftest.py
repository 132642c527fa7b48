"""Checkpoints of a few thousand random weights, with and without a teacher."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Path:
    from tiny import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def student_checkpoint(tmp_path_factory) -> Path:
    from tiny import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("student"), teacher=False)
