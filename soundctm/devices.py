"""Which torch device to use."""

from __future__ import annotations

import torch

from soundctm.errors import UserError


def default_device() -> str:
    """The best device that torch sees: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def usable_device(wanted: str) -> str:
    """The device called `wanted`, "auto" being the best. Raises UserError if it is absent."""
    if wanted == "auto":
        return default_device()
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        here = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"device {wanted!r} cannot be used: {here}") from error
    return wanted
