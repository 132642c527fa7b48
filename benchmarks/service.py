"""The service under load: how fast, how evenly, in how much memory, and is every clip the right one?

    python -m benchmarks.service                          # 32 clients, half of them hostile, 2 minutes
    python -m benchmarks.service --seconds 10 --clients 8

`soundctm serve` runs in a process of its own. First one client asks for one sound after another, then the honest half
of the clients at once (each several times by turns, so that both meet the same machine): that is what batching gains.
Then all clients for `--seconds`. Every clip that came is compared with the pipeline's own for its seed. The exit code
is 1 when one is wrong, when a request of an honest client fails, or when a hostile one gets what it should not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.service_clients import EDITED, REGION, Key, Seen, honest, hostile

ROOT = Path(__file__).parents[1]
TURNS = 3  # of one after another and at once
ROUNDING = 4  # of the last of 16 bits: a clip of a batch differs by this from the same made alone


@dataclass
class Report:
    """What a run found out."""

    alone: float = 0.0  # clips a second, one request after another
    together: float = 0.0  # of the honest clients at once
    mixed: float = 0.0  # with the hostile ones
    seen: Seen = field(default_factory=Seen)
    checked: int = 0
    wrong: list[Key] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # MiB, every second
    process: int | None = None

    @property
    def is_fine(self) -> bool:
        return not self.wrong and not self.seen.faults and self.checked > 0

    def __str__(self) -> str:
        lines = [
            f"one request after another   {self.alone:.2f} clips/s",
            f"the same clients at once    {self.together:.2f} clips/s, {self.together / self.alone:.2f} times as many"
            if self.alone
            else "",
            f"with the hostile clients    {self.mixed:.2f} clips/s, {len(self.seen.latencies)} clips, "
            f"{self.seen.refused} times told to wait (429)",
        ]
        if self.seen.latencies:
            marks = np.percentile(self.seen.latencies, (50, 90, 99))
            lines.append("latency                     " + ", ".join(
                f"p{mark} {value:.2f} s" for mark, value in zip((50, 90, 99), marks, strict=True)
            ))  # fmt: skip
        if self.memory:
            early = self.memory[: max(1, len(self.memory) // 4)]
            lines.append(
                f"memory of the service       {max(self.memory):.0f} MiB at most, {max(early):.0f} in the first quarter"
            )
        if self.checked:
            lines.append(f"different sounds checked    {self.checked}, {len(self.wrong)} wrong")
        lines += [f"  hostile, {name:34}{count}" for name, count in sorted(self.seen.hostile.items())]
        lines += [f"  fault: {fault}" for fault in self.seen.faults[:20]]
        return "\n".join(filter(None, lines))


@contextlib.contextmanager
def served(checkpoint: str, *options: str) -> Iterator[tuple[str, int]]:
    """(address, process number) of `soundctm serve`, ready."""
    import httpx

    command = [sys.executable, "-m", "soundctm", "serve", "--port", "0", "--checkpoint", checkpoint, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        line = process.stderr.readline()
        found = re.match(r"listening at (http://\S+);", line)
        if not found:
            raise SystemExit(line + process.stderr.read())
        while httpx.get(f"{found[1]}/health", timeout=60).json()["status"] != "ok":
            time.sleep(0.2)
        yield found[1], process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


async def load(
    address: str,
    seconds: float,
    clients: int,
    upload: bytes,
    process: int | None = None,
    steps: tuple[int, ...] = (1, 4),
) -> Report:
    """All phases against the service at `address`; `process` is its number, for its memory."""
    report, half = Report(process=process), max(1, clients // 2)
    for turn in range(TURNS):
        part = seconds / (4 * TURNS)
        report.alone += await _phase(address, part, 1, 0, b"", report.seen, turn, steps) / TURNS
        report.together += await _phase(address, part, half, 0, b"", report.seen, turn, steps) / TURNS
    report.seen.latencies.clear()  # from here on they are those of the mixed phase
    watching = asyncio.create_task(_watch(report))
    report.mixed = await _phase(address, seconds, half, clients - half, upload, report.seen, 0, steps)
    watching.cancel()
    return report


async def _phase(
    address: str, seconds: float, good: int, bad: int, upload: bytes, seen: Seen, seed: int, steps: tuple[int, ...]
) -> float:
    """So many honest and hostile clients for so many seconds; clips a second of the honest ones."""
    begun, before = time.monotonic(), len(seen.latencies)
    tasks = [honest(address, seen, begun + seconds, random.Random(f"{seed} {k}"), upload, steps) for k in range(good)]
    tasks += [hostile(address, seen, begun + seconds, random.Random(f"{seed} {-k - 1}")) for k in range(bad)]
    honest_tasks = [asyncio.ensure_future(task) for task in tasks[:good]]
    others = [asyncio.ensure_future(task) for task in tasks[good:]]
    await asyncio.gather(*honest_tasks)
    rate = (len(seen.latencies) - before) / (time.monotonic() - begun)
    await asyncio.gather(*others)
    return rate


async def _watch(report: Report) -> None:
    """The memory of the service, every second."""
    while report.process is not None:
        status = Path(f"/proc/{report.process}/status")
        found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.is_file() else None
        if found is None:
            return
        report.memory.append(int(found[1]) / 1024)
        await asyncio.sleep(1)


def check(report: Report, pipe, upload: np.ndarray) -> None:
    """Compare every clip that came with the pipeline's own for its seed, made alone."""
    for key, answers in report.seen.clips.items():
        caption, seed, steps, is_edit = key
        if is_edit:
            seconds = len(upload) / pipe.codec.sampling_rate
            region = tuple(share * seconds for share in REGION)
            own = pipe.inpaint(EDITED, upload, [region], num_inference_steps=steps, seed=[seed])
        else:
            own = pipe(caption, steps, seed=[seed])
        expected = np.rint(own.audios[0].astype(np.float64) * 2**15)
        report.checked += 1
        if not all(len(one) == len(expected) and np.abs(one - expected).max() <= ROUNDING for one in answers):
            report.wrong.append(key)


def sound_to_edit(pipe) -> tuple[np.ndarray, bytes]:
    """A sound, and the wav of it that clients send."""
    buffer = io.BytesIO()
    soundfile.write(buffer, pipe("a door", 1, seed=[1]).audios[0], pipe.codec.sampling_rate, format="WAV")
    return soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")[0], buffer.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and say by the exit code whether all was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of all clients together (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=32, help="half of them hostile (default: %(default)s)")
    parser.add_argument("--checkpoint", default="mini", help="model (default: %(default)s)")
    parser.add_argument("--steps", type=int, nargs="+", default=(1, 4), help="that are asked for (default: 1 4)")
    args = parser.parse_args(arguments)
    import torch

    from benchmarks.machine import describe
    from soundctm.pipeline import SoundCTMPipeline

    pipe = SoundCTMPipeline.from_pretrained(args.checkpoint, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    upload, content = sound_to_edit(pipe)
    about = describe(torch.device("cpu"))
    with served(args.checkpoint, "--device", "cpu") as (address, process):
        report = asyncio.run(load(address, args.seconds, args.clients, content, process, tuple(args.steps)))
    print(f"{about['cpu']}, {about['cores']} cores, {about['threads']} threads, load before {about.get('load_before')}")
    print(report, "\n\nevery sound is made again, alone, ...", flush=True)
    check(report, pipe, upload)
    print(f"different sounds checked    {report.checked}, {len(report.wrong)} wrong")
    return 0 if report.is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
