"""Large blocks of memory used again instead of given back to the system and asked for anew.

glibc maps every block above 32 MiB freshly and unmaps it when it is freed. Each page is then zeroed by the system when
it is first written, which for the maps of a VAE or a vocoder takes longer than computing them: on a virtual machine
with an AMD EPYC a SiLU of 32 MiB took 18 ms into a new block and 2 ms into one that was there.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

import torch

TRIM, MAPPED_FROM, MOST_MAPPED = -1, -3, -4  # mallopt's numbers
LARGE, USUAL_COUNT = 32 * 2**20, 65536  # where glibc's own adaptation ends, and its usual number of mapped blocks
NEVER = 2**31 - 1
_lock = threading.Lock()
_inside = 0


@contextlib.contextmanager
def reusing_memory(device: torch.device) -> Iterator[None]:
    """Within the block, memory that is freed stays with the process. Does nothing but on a CPU with glibc.

    What was used stays afterwards, too, until the process ends or `release_memory` is called, ready for the next time.
    """
    global _inside
    if device.type != "cpu":
        yield
        return
    with _lock:
        _inside += 1
        if _inside == 1:
            _set({MOST_MAPPED: 0, TRIM: NEVER})
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set({MOST_MAPPED: USUAL_COUNT, MAPPED_FROM: LARGE, TRIM: 2 * LARGE})


def release_memory() -> None:
    """Give freed memory back to the system, where it can be told to."""
    if trim := _function("malloc_trim"):
        trim(0)


def _set(values: dict[int, int]) -> None:
    if set_option := _function("mallopt"):
        for name, value in values.items():
            set_option(name, value)


def _function(name: str):
    """A function of glibc; None with another library."""
    try:
        library = ctypes.CDLL(None)
        return getattr(library, name) if hasattr(library, "gnu_get_libc_version") else None
    except (OSError, TypeError, AttributeError):
        return None
