"""Opening safetensors files under any name; the library itself wants names that are UTF-8."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file


def open_tensors(path: str | os.PathLike) -> safe_open:
    """The file at `path`, as `safetensors.safe_open` gives it for torch; raises what that raises."""
    with _utf8_name(path) as name:
        return safe_open(name, framework="pt")


def load_tensors(path: str | os.PathLike) -> dict[str, torch.Tensor]:
    """All tensors of the file at `path`, as `safetensors.torch.load_file` gives them; raises what that raises."""
    with _utf8_name(path) as name:
        return load_file(name)


@contextlib.contextmanager
def _utf8_name(path: str | os.PathLike) -> Iterator[str]:
    """`path`, or a name that the open file has meanwhile."""
    name = os.fspath(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        with Path(path).open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield name
