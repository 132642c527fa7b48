"""Reading pickled checkpoints without running anything in them.

`torch.load(weights_only=True)` refuses every class it does not know. A Lightning checkpoint names a few such classes in
its book-keeping (callback states, hyperparameters); those, and only those, are replaced by an empty dict subclass that
does nothing. Any other name in the file, `os.system` say, makes the file refused.
"""

from __future__ import annotations

import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from .errors import CodecError
from .torch_zips import can_be_mapped

# Book-keeping that Lightning and its configuration library leave in checkpoints; never needed to read weights.
INERT_PACKAGES = ("pytorch_lightning.", "lightning.", "lightning_fabric.", "lightning_utilities.", "omegaconf.")
INERT_NAMES = (
    "typing.Any",
    "collections.defaultdict",
    "builtins.dict",
    "builtins.list",
    "builtins.int",
    "builtins.str",
)
# What damaged bytes lead the readers of zip and pickle to.
UNREADABLE = (
    *(RuntimeError, EOFError, OSError, ArithmeticError, LookupError, ValueError, AttributeError, TypeError),
    *(AssertionError, struct.error, zipfile.BadZipFile, zlib.error),
)


def load_checkpoint(path: str | os.PathLike) -> Any:
    """The content of a torch checkpoint file, on the CPU, tensors mapped from disk.

    Raises CodecError if the file is absent, is no torch checkpoint, or names anything that could run code.
    """
    path = Path(path)
    if not path.is_file():
        raise CodecError(f"no checkpoint file at {path}")
    mapped = can_be_mapped(path)
    try:
        zipped = zipfile.is_zipfile(path)
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipped else []
        refused = sorted(name for name in unknown if not _is_inert(name))
        if refused:
            raise CodecError(f"{path} is refused: it would call {', '.join(refused)[:300]} when read")
        with torch.serialization.safe_globals([(_stub(name), name) for name in unknown]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except CodecError:
        raise
    except pickle.UnpicklingError as error:
        first_line = str(error).split("\n", 1)[0][:300]
        raise CodecError(
            f"{path} is refused: it holds more than weights, or is no checkpoint ({first_line})"
        ) from error
    except MemoryError:
        raise CodecError(f"{path} asks for more memory than there is") from None
    except UNREADABLE as error:
        first_line = str(error).split("\n", 1)[0][:300]
        raise CodecError(
            f"{path} cannot be read as a torch checkpoint ({type(error).__name__}: {first_line})"
        ) from error


def _is_inert(name: str) -> bool:
    return name in INERT_NAMES or name.startswith(INERT_PACKAGES)


def _stub(name: str) -> type:
    """An empty class called `name` that accepts and forgets whatever a pickle puts into it."""
    module, _, short = name.rpartition(".")
    members = {
        "__module__": module,
        "__init__": lambda self, *args, **kwargs: None,
        "__setstate__": lambda self, state: None,
        "append": lambda self, item: None,
        "extend": lambda self, items: None,
    }
    return type(short, (dict,), members)
