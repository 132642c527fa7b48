"""Number formats: what `mixed_precision: auto` means on a device, and another precision for a part of a step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

CHOICES = ("auto", "no", "bf16", "fp16")  # of a run, as accelerate calls them
FROZEN = ("auto", "fp32", "tf32", "bf16", "fp16")  # of the networks that are not trained
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
# Without one of these (x86 and ARM names), a CPU computes bfloat16 through float32, many times slower than float32.
NATIVE_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def has_native_bf16(device: torch.device | str) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware; False for what is not known to."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    # Older versions of torch cannot tell; theirs are taken to have none, which is slow at worst and never wrong.
    ask = getattr(torch.cpu, "get_capabilities", None)
    if kind != "cpu" or ask is None:
        return False
    return any(ask().get(name, False) for name in NATIVE_CPU_BF16)


def widest(device: torch.device | str) -> torch.dtype:
    """The widest real format of a device: float64, but float32 on Apple's GPUs, which have nothing wider."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def resolve(mixed_precision: str, device: torch.device | str) -> str:
    """What accelerate is told: "auto" is "bf16" where it is native and "no" (float32) elsewhere; others stay.

    Raises ValueError for a name that is none of CHOICES.
    """
    if mixed_precision not in CHOICES:
        raise ValueError(f"mixed precision is {mixed_precision!r}; it must be one of {', '.join(CHOICES)}")
    if mixed_precision != "auto":
        return mixed_precision
    return "bf16" if has_native_bf16(device) else "no"


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
