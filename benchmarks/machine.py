"""What a measurement was made on, for its JSON; and joining the JSONs of several measurements.

python -m benchmarks.machine --join outputs/gpu gpu.json
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundctm.files import write_whole

if TYPE_CHECKING:
    import torch

LIBRARIES = ("torch", "diffusers", "transformers", "triton")


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, device, memory, threads, versions and time, all fit for JSON."""
    import torch  # joining needs none, and does not wait for it

    found: dict[str, Any] = {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "device": str(device),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if hasattr(torch.cpu, "get_capabilities"):
        found["cpu_flags"] = sorted(name for name, has in torch.cpu.get_capabilities().items() if has is True)
    if hasattr(os, "getloadavg"):
        found["load_before"] = round(os.getloadavg()[0], 2)  # of the last minute: on a busy machine times mean little
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {"gpu": card.name, "gpu_memory_gib": round(card.total_memory / 2**30, 1), "cuda": torch.version.cuda}
    return found


def join(folder: Path, output: Path) -> None:
    """All JSON files of `folder` by name, as one file, and what was printed for those that are not there."""
    files = [path for path in sorted(folder.glob("*.json")) if path.resolve() != output.resolve()]
    parts = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    ends = {path.stem: path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("*.status"))}
    logs = {path.stem: path.read_text(encoding="utf-8", errors="replace")[-4000:] for path in folder.glob("*.log")}
    failed = {name: {"exit": code, "log": logs.get(name, "")} for name, code in ends.items() if code != "0"}
    printed = {name: log for name, log in logs.items() if name not in failed and name not in parts}
    whole = {"parts": parts, "printed": printed, "failed": failed}
    write_whole(output, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Joins, or prints the description of this machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--join", nargs=2, type=Path, metavar=("FOLDER", "JSON"))
    args = parser.parse_args()
    if args.join:
        join(*args.join)
        return
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(json.dumps(describe(device), indent=1))


if __name__ == "__main__":
    main()
