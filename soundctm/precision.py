"""Choosing the number format of a run: what `mixed_precision: auto` means on a device."""

from __future__ import annotations

import torch

CHOICES = ("auto", "no", "bf16", "fp16")
# Without one of these (x86 and ARM names), a CPU computes bfloat16 through float32, many times slower than float32.
NATIVE_CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def has_native_bf16(device: torch.device | str) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware; False for what is not known to."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    # torch 2.11 is the first to tell; an older one is taken to have none, which is slow at worst and never wrong.
    ask = getattr(torch.cpu, "get_capabilities", None)
    if kind != "cpu" or ask is None:
        return False
    return any(ask().get(name, False) for name in NATIVE_CPU_BF16)


def resolve(mixed_precision: str, device: torch.device | str) -> str:
    """What accelerate is told: "auto" is "bf16" where it is native and "no" (float32) elsewhere; others stay.

    Raises ValueError for a name that is none of CHOICES.
    """
    if mixed_precision not in CHOICES:
        raise ValueError(f"mixed precision is {mixed_precision!r}; it must be one of {', '.join(CHOICES)}")
    if mixed_precision != "auto":
        return mixed_precision
    return "bf16" if has_native_bf16(device) else "no"
