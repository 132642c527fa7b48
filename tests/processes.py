"""Trainings in processes of their own, alone or several together over gloo, that a test may kill.

The processes are forked from a server that has imported the trainers once, so that one starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["soundctm.training.tasks.distill", "soundctm.training.tasks.teacher", "toy", "processes"]
)


@contextlib.contextmanager
def training(module: str, config: Any, world: int = 1, before: str | None = None) -> Iterator[list]:
    """`world` processes that run `train(config)` of `module`, killed at the end of the block if they still run.

    `before` names a function "module:name" that every process calls first.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(world):
        env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        if world > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
        process = FORKSERVER.Process(target=_run, args=(env, module, config, before))
        process.start()
        started.append(process)
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.join()


def finish(processes: list, seconds: float = 240) -> list[int]:
    """Exit codes, when all have ended; as a launcher does, those left over after one failed are killed."""
    until = time.monotonic() + seconds
    while any(process.is_alive() for process in processes):
        failed = any(process.exitcode not in (None, 0) for process in processes)
        if failed:
            until = min(until, time.monotonic() + 5)
            failed = False
        if time.monotonic() > until:
            for process in processes:
                process.kill()
        time.sleep(0.02)
    return [process.exitcode for process in processes]


def run(module: str, config: Any, world: int = 1, before: str | None = None) -> list[int]:
    """Exit codes of a whole training."""
    with training(module, config, world, before) as processes:
        return finish(processes)


def error_file(config: Any) -> Path:
    """Where a process writes what it ended with: beside its output folder, whose disk may be full."""
    return Path(f"{config.output_dir}.error")


def _run(env: dict[str, str], module: str, config: Any, before: str | None) -> None:
    import torch

    from soundctm.errors import UserError

    os.environ.update(env)
    torch.set_num_threads(1)
    if before:
        where, name = before.split(":")
        getattr(importlib.import_module(where), name)()
    try:
        importlib.import_module(module).train(config)
    except UserError as error:
        error_file(config).write_text(str(error))
        sys.exit(2)
