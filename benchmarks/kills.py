"""Kills training, generation, encoding and evaluation at random moments, starts each again, and counts what is lost.

    python -m benchmarks.kills --kills 20                    # of each kind; minutes
    python -m benchmarks.kills --kills 3 --kinds training    # one kind

Each try starts the command, sends SIGKILL after a random time, and starts it again until it ends. Then what it made is
compared with what an uninterrupted run made, byte by byte: weights, sounds, latents, scores. A line per kind tells the
tries, how many kills hit a running process, survived (equal to the uninterrupted run), lost, and leftovers (temporary
files and locks that stay). The exit code is 1 when anything is lost or left over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
IGNORED = {
    "log.jsonl",
    "training_config.yaml",
    "config.yaml",
    "report.yaml",
    "manifest.csv",
    "machine.txt",
    "hashes-0.jsonl",
}  # times
REPORT = "report.jsonl"
KINDS = ("training", "generation", "encoding", "evaluation")


@dataclass
class Count:
    """Of one kind."""

    tries: int = 0
    hit: int = 0
    survived: int = 0
    lost: int = 0
    leftovers: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{value} {name}" for name, value in vars(self).items())


def campaign(kind: str, command: Sequence[str], folder: Path, kills: int, draw: random.Random) -> Count:
    """Kill `command`, whose "OUT" stands for its output folder, `kills` times; each in a folder of its own."""
    count = Count()
    for whole in (folder / kind / "first", folder / kind / "whole"):  # the first run finds nothing in memory
        began = time.monotonic()
        if run(command, whole) != 0:
            raise RuntimeError(f"the uninterrupted {kind} failed: {' '.join(command)}")
        seconds = time.monotonic() - began
    expected = contents(whole)
    for number in range(kills):
        out = folder / kind / f"try-{number}"
        count.tries += 1
        count.hit += run(command, out, kill_after=draw.uniform(0.3, 1.0) * seconds) == -signal.SIGKILL
        code = run(command, out)
        same = code == 0 and contents(out) == expected
        count.survived += same
        count.lost += not same
        count.leftovers += len(leftovers(out))
    return count


def run(command: Sequence[str], out: Path, kill_after: float | None = None) -> int:
    """The exit code of the command, which is killed with all of its workers after some seconds if that is wished."""
    log = out.with_name(f"{out.name}.txt")
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [word.replace("OUT", str(out)) for word in command]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    with log.open("ab") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file, cwd=ROOT, env=env, start_new_session=True)
        try:
            return process.wait(kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()


def contents(folder: Path) -> dict[str, str]:
    """Hashes of what was made by path, without what tells times, checkpoints (which hold times) and hidden files."""
    made = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        passed_over = any(part.startswith((".", "checkpoint-", "cache")) for part in name.parts)
        if path.is_file() and path.name not in IGNORED and not passed_over:
            # a file of captions is named by the process that wrote it
            made[re.sub(r"-\d+(?=\.safetensors$)", "", str(name))] = hashlib.sha256(content(path)).hexdigest()
    return made


def content(path: Path) -> bytes:
    """The bytes of a file; of safetensors the tensors, whose header has any order; of a report the measured values."""
    if path.name == REPORT:
        return json.dumps([values(json.loads(line)) for line in path.read_text().splitlines()[-1:]]).encode()
    if path.suffix != ".safetensors":
        return path.read_bytes()
    from safetensors.numpy import load_file

    return b"".join(name.encode() + value.tobytes() for name, value in sorted(load_file(path).items()))


def values(node: object) -> list:
    """Everything that a report calls "value", at any depth."""
    if isinstance(node, dict):
        return [found for key, part in node.items() for found in ([part] if key == "value" else values(part))]
    return [found for part in node for found in values(part)] if isinstance(node, list) else []


def leftovers(folder: Path) -> list[Path]:
    """Temporary files and locks."""
    return [path for path in folder.rglob(".*") if ".tmp" in path.name or ".old-" in path.name or path.name == ".lock"]


def commands(folder: Path) -> dict[str, list[str]]:
    """The command of each kind on tiny networks and sounds, which are written below `folder`."""
    sys.path.insert(0, str(ROOT / "tests"))
    from clips_fixture import write_good_clips
    from tiny import write_checkpoint

    checkpoint, table = write_checkpoint(folder / "world"), write_good_clips(folder / "sounds")
    for name in ("generated", "reference"):  # one of the sounds is broken on purpose, for trainings
        shutil.copytree(folder / "sounds" / "audio", folder / name, ignore=shutil.ignore_patterns("corrupt*"))
    captions = folder / "captions.csv"
    captions.write_text("caption\n" + "".join(f"sound number {i}\n" for i in range(12)))
    world, python = folder / "world", sys.executable
    train = [
        python, "ctm_train.py", "teacher", "--cpu", "true", "--mixed_precision", "no", "--codec", f"{checkpoint}/codec",
        "--unet_model_config", f"{world}/unet.json", "--train_file", str(table), "--audio_dir",
        str(folder / "sounds" / "audio"), "--per_device_train_batch_size", "4", "--sample_clips", "0", "--log_every",
        "1", "--validation_every", "0", "--output_dir", "OUT",
    ]  # fmt: skip
    return {
        "training": [*train, "--max_train_steps", "40", "--checkpointing_steps", "3", "--cache_dir",
                     str(folder / "cache")],
        "encoding": [*train, "--max_train_steps", "1", "--checkpointing_steps", "1", "--cache_dir", "OUT/latents"],
        "generation": [python, "ctm_inference.py", "--checkpoint", str(checkpoint), "--test_file", str(captions),
                       "--device", "cpu", "--output_dir", "OUT"],
        "evaluation": [python, "numerical_evaluation.py", "--generated_dir", str(folder / "generated"),
                       "--reference_dir", str(folder / "reference"), "--metrics", "fad", "--extractors",
                       "yamnet", "--output", f"OUT/{REPORT}"],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each kind (default: 20)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args(arguments)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        made = commands(Path(folder))
        for kind in given.kinds:
            count = campaign(kind, made[kind], Path(folder), given.kills, random.Random(given.seed))
            print(f"{kind}: {count}", flush=True)
            bad += count.lost + count.leftovers
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
