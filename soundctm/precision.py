"""Number formats: what `auto` means on a device, and another precision for a part of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

CHOICES = ("auto", "no", "bf16", "fp16")  # of a run, as accelerate calls them
FROZEN = ("auto", "fp32", "tf32", "bf16", "fp16")  # of the networks that are not trained
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def gains_from_bf16(device: torch.device | str) -> bool:
    """Is `device` faster in bfloat16 than in float32? A GPU knows; a CPU is tried; False for what is not known to."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    from soundctm.acceleration.rates import cpu_rates, fastest  # brings the libraries of the networks along

    return fastest(cpu_rates()) == "bfloat16"


def number_format(name: str, device: torch.device | str) -> torch.dtype:
    """The format called `name`; of "auto", bfloat16 where `device` gains from it and float32 elsewhere."""
    if name != "auto":
        return getattr(torch, name)
    return torch.bfloat16 if gains_from_bf16(device) else torch.float32


def widest(device: torch.device | str) -> torch.dtype:
    """The widest real format of a device: float64, but float32 on Apple's GPUs, which have nothing wider."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def resolve(mixed_precision: str, device: torch.device | str) -> str:
    """What accelerate is told: "auto" is "bf16" where `device` gains from it and "no" (float32) elsewhere; others stay.

    Raises ValueError for a name that is none of CHOICES.
    """
    if mixed_precision not in CHOICES:
        raise ValueError(f"mixed precision is {mixed_precision!r}; it must be one of {', '.join(CHOICES)}")
    if mixed_precision != "auto":
        return mixed_precision
    return "bf16" if gains_from_bf16(device) else "no"


@contextlib.contextmanager
def computing_in(name: str, device: torch.device | str) -> Iterator[None]:
    """Compute in a precision of FROZEN, whatever autocast is around; "auto" changes nothing.

    "fp32" also keeps TensorFloat-32 out of GPU kernels, "tf32" lets it in; both are as before afterwards.
    """
    if name == "auto":
        yield
        return
    kind = torch.device(device).type
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with torch.autocast(kind, dtype=HALF.get(name), enabled=name in HALF):
        try:
            if name not in HALF:
                torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
                torch.backends.cudnn.allow_tf32 = name == "tf32"
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]
