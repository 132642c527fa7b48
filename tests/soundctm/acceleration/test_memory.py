"""Freed memory is used again within a generation, and glibc is as usual afterwards."""

import sys
from pathlib import Path

import pytest
import torch

from soundctm.acceleration import memory


@pytest.fixture
def told(monkeypatch):
    """What glibc was told."""
    calls = []
    monkeypatch.setattr(memory, "_set", calls.append)
    return calls


def test_glibc_is_told_once_however_deep_the_blocks_are_and_told_back(told):
    with memory.reusing_memory(torch.device("cpu")), memory.reusing_memory(torch.device("cpu")):
        assert told == [{memory.MOST_MAPPED: 0, memory.TRIM: memory.NEVER}]
    assert len(told) == 2 and told[1][memory.MOST_MAPPED] == memory.USUAL_COUNT
    assert told[1][memory.MAPPED_FROM] == memory.LARGE


def test_it_is_told_back_after_an_error_and_other_devices_are_left_alone(told):
    with pytest.raises(RuntimeError), memory.reusing_memory(torch.device("cpu")):
        raise RuntimeError("no")
    assert len(told) == 2
    with memory.reusing_memory(torch.device("cuda")):
        assert len(told) == 2


def test_without_glibc_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    with memory.reusing_memory(torch.device("cpu")):
        pass
    memory.release_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does")
def test_a_large_block_is_not_asked_for_again():
    if memory._function("mallopt") is None:
        pytest.skip("another C library")

    def faults() -> int:
        return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[7])

    x = torch.zeros(12 * 2**20)  # 48 MiB: 12,288 pages
    with memory.reusing_memory(torch.device("cpu")):
        fewest = 10**9
        for _ in range(5):
            before = faults()
            x + 1
            fewest = min(fewest, faults() - before)
        assert fewest < 1000
    memory.release_memory()
