"""Reading state dicts from torch files without running anything that they contain."""

from __future__ import annotations

import logging
import os
import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch

from soundctm.audioldm.errors import CodecError
from soundctm.audioldm.torch_zips import can_be_mapped
from soundctm.errors import UserError

log = logging.getLogger(__name__)

StateDict = dict[str, torch.Tensor]
ValueT = TypeVar("ValueT")
PARALLEL_PREFIX = "module."  # put before every key by DistributedDataParallel
COMPILED_PART = "_orig_mod."  # put before the keys of a module by torch.compile


def read_state_dict(path: str | os.PathLike, under: str | None = None) -> StateDict:
    """The tensors of a torch file by name, mapped from disk where the file allows it.

    What wrappers put into the keys is removed (`without_wrappers`).

    `under` is the key of the state dict in files that hold more than one. Raises UserError for a file that is absent,
    no checkpoint, a pickle that asks for code, or no flat state dict.
    """
    path = Path(path)
    state = read_torch_file(path)
    if under is not None:
        if not isinstance(state, Mapping) or under not in state:
            raise UserError(f"{path} has no entry {under!r}, under which its weights should be")
        state = state[under]
    return flat_state(state, path)


def flat_state(state: object, path: Path) -> StateDict:
    """The tensors by name that `path` holds, checked as `read_state_dict` says."""
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"{path} holds a {type(state).__name__}; a checkpoint holds tensors by name")
    wrong = [str(key) for key, value in state.items() if not isinstance(key, str) or not torch.is_tensor(value)]
    if wrong:
        raise UserError(f"{path} is no flat state dict: {listing(wrong)} is not a tensor")
    for key, value in state.items():
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise UserError(f"{path}: {key} is no plain tensor with values")
    return without_wrappers(state, path)


def without_wrappers(state: Mapping[str, ValueT], source: str | os.PathLike) -> dict[str, ValueT]:
    """`state` without `_orig_mod.` anywhere in its keys, and without `module.` before all of them, however often.

    Raises UserError when two keys would become one.
    """
    names = [key.replace(COMPILED_PART, "") for key in state]
    while names and all(name.startswith(PARALLEL_PREFIX) for name in names):
        names = [name.removeprefix(PARALLEL_PREFIX) for name in names]
    if names == list(state):
        return dict(state)
    if len(set(names)) < len(names):
        raise UserError(f"{source} holds {listing([n for n in names if names.count(n) > 1])} wrapped and unwrapped")
    log.info("%s: removed what DistributedDataParallel and torch.compile put into the keys", source)
    return dict(zip(names, state.values(), strict=True))


def listing(names: list[str], most: int = 3) -> str:
    """The first few of `names` and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def read_torch_file(path: Path, map_location: str | torch.device = "cpu", mapped: bool = True) -> object:
    """What a torch file holds: tensors and plain values. `mapped` leaves tensors on disk where the file allows it.

    Raises UserError as `read_state_dict`.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint file at {path}")
    try:
        mapped = can_be_mapped(path) and mapped
    except CodecError as error:
        raise UserError(str(error)) from error
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mapped)
    except MemoryError:
        raise UserError(f"{path} asks for more memory than there is") from None
    except Exception as error:  # on arbitrary bytes the unpickler raises whatever they lead it to
        log.debug("torch.load failed on %s", path, exc_info=error)
        wanted = _code_asked_for(path, str(error))
        if wanted:
            raise UserError(
                f"{path} is refused: unpickling it would call {wanted}, and a checkpoint may hold nothing but "
                "tensors and plain values"
            ) from None
        raise UserError(f"{path} is not a torch checkpoint, or it is cut off or damaged") from None


def _code_asked_for(path: Path, message: str) -> str | None:
    """Name of the Python object that a refused pickle asks for, if that was the reason."""
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named:
        return named.group(1)
    with path.open("rb") as file:
        if file.read(1) != pickle.PROTO:
            return None
        file.seek(0)
        strings: list[str] = []
        try:
            for opcode, argument, _ in pickletools.genops(file):  # reads the instructions, runs none
                if opcode.name == "STACK_GLOBAL":
                    return ".".join(strings[-2:])
                if isinstance(argument, str):
                    strings.append(argument)
        except (ValueError, OverflowError, MemoryError):
            return None
    return None
