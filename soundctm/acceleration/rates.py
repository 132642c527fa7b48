"""How fast this machine computes in each number format, by trying: a matrix product and a convolution in some 50 ms.

Which format is the fastest does not follow from a CPU's flags: some have instructions for bfloat16 and are slower with
them than without. What was measured is kept in the process, and for later ones in a small file, by processor, version
of torch and number of threads; so the same machine makes the same choice. A file that cannot be read or written only
means that it is measured again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.nn import functional as F  # noqa: N812

from soundctm.acceleration import onednn
from soundctm.errors import UserError
from soundctm.files import write_whole
from soundctm.files.reading import read_json

GAIN = 1.2  # how many times as fast another format must be to be taken instead of float32
FORMATS = ("float32", "bfloat16")
TRIES, MOST_ENTRIES = 5, 32
Rates = Mapping[str, float]  # seconds of the work below, by format


def fastest(rates: Rates) -> str:
    """The format to compute in: float32, unless another is at least GAIN times as fast."""
    best = min(rates, key=rates.__getitem__)
    return best if rates["float32"] >= GAIN * rates[best] else "float32"


def cpu_rates(file: Path | None = None) -> Rates:
    """Seconds of a matrix product and a convolution of usual shapes by format, on this CPU.

    `file` is where they are kept (default: `rates_file()`).
    """
    key = machine()
    if key not in _known:
        file = file or rates_file()
        stored = _read(file)
        rates = _usable(stored.get(key))
        if rates is None:
            rates = measure()
            kept = {name: value for name, value in stored.items() if _usable(value)}
            _write(file, {**dict(list(kept.items())[-MOST_ENTRIES + 1 :]), key: rates})
        _known[key] = rates
    return _known[key]


_known: dict[str, Rates] = {}


def machine() -> str:
    """What the rates hold for."""
    return f"{_processor()}; {platform.machine()}; torch {torch.__version__}; {torch.get_num_threads()} threads"


def rates_file() -> Path:
    """Where the rates of this user's machines are kept."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return Path(os.devnull, "rates.json")
    return folder / "soundctm" / "rates.json"


@torch.inference_mode()
def measure() -> dict[str, float]:
    """The shortest of some tries of each; the formats take turns."""
    works = {name: _work(getattr(torch, name)) for name in FORMATS}
    for run in works.values():
        run()
    taken = {name: math.inf for name in works}
    for _ in range(TRIES):
        for name, run in works.items():
            began = time.perf_counter()
            run()
            taken[name] = min(taken[name], time.perf_counter() - began)
    return taken


def _work(dtype: torch.dtype) -> Callable[[], None]:
    """A product like those of a network's attention, and a convolution like those of its blocks."""
    draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(0))
    rows, weight = draw(1024, 320).to(dtype), draw(960, 320).to(dtype)
    image, kernel = draw(1, 160, 64, 16).to(dtype), draw(160, 160, 3, 3).to(dtype)
    fast = dtype == torch.float32 and onednn.available()

    def run() -> None:
        (onednn.product if fast else F.linear)(rows, weight)
        F.conv2d(image, kernel, padding=1)

    return run


def _usable(value: object) -> dict[str, float] | None:
    if not isinstance(value, dict) or set(value) != set(FORMATS):
        return None
    fine = all(isinstance(v, float) and math.isfinite(v) and v > 0 for v in value.values())
    return value if fine else None


def _read(file: Path) -> dict:
    try:
        return read_json(file) if file.is_file() else {}
    except (UserError, OSError):
        return {}


def _write(file: Path, values: Mapping[str, Rates]) -> None:
    with contextlib.suppress(UserError, OSError):
        write_whole(file, json.dumps(values, indent=1) + "\n")


@functools.cache
def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
