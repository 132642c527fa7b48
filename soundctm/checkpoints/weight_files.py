"""Where the weights of a part lie: one safetensors file, several with an index, or a torch file.

    diffusion_pytorch_model.safetensors             or model.safetensors
    diffusion_pytorch_model.safetensors.index.json  {"weight_map": {key: file}}, and the files it names
    diffusion_pytorch_model.bin                     or pytorch_model.bin; tensors only

What macOS leaves beside them on foreign disks (`._model.safetensors`) is passed over.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError

from soundctm.checkpoints.eight_bit import SCALE
from soundctm.checkpoints.torch_files import StateDict, read_state_dict, without_wrappers
from soundctm.errors import UserError
from soundctm.files import inside
from soundctm.files.reading import LFS, read_json
from soundctm.files.tensors import load_tensors, open_tensors

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
INDEX_BYTES = 64 * 2**20
AT_ONCE = 128 * 2**20  # bytes of a file that are mapped together while its tensors are copied


def find_weights(folder: Path) -> list[Path]:
    """The files of the weights in `folder`, in the order above. Raises UserError when there are none, or parts lack."""
    for stem in STEMS:
        for path in (folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"):
            if path.is_file():
                return _parts(path) if path.suffix == ".json" else [path]
    for stem in STEMS:
        if (folder / f"{stem}.bin").is_file():
            return [folder / f"{stem}.bin"]
    raise UserError(f"no weights in {folder}; {STEMS[0]}.safetensors is what is looked for first")


def read_weights(folder: Path, dtype: torch.dtype | None = None) -> StateDict:
    """The tensors of a part by name; those of safetensors files in `dtype`, if that is given (`read_safetensors`).

    Raises UserError for files that are absent or damaged.
    """
    state: StateDict = {}
    for path in find_weights(folder):
        state |= read_state_dict(path) if path.suffix == ".bin" else read_safetensors(path, dtype)
    return state


def shapes_in(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors of a part, by the names of `read_weights`. Raises UserError as that."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in find_weights(folder):
        if path.suffix == ".bin":
            shapes |= {key: tuple(value.shape) for key, value in read_state_dict(path).items()}
            continue
        _check_pointer(path)
        try:
            with open_tensors(path) as file:
                own = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, OverflowError) as error:
            raise _damaged(path, error) from error
        shapes |= without_wrappers(own, path)
    return shapes


def read_safetensors(path: Path, dtype: torch.dtype | None = None) -> StateDict:
    """The tensors of a safetensors file by name, mapped from it. Raises UserError when it is absent or damaged.

    With a `dtype` they are copies, numbers with a point in that format, and the file is mapped in parts: what is in
    memory at any time is little more than what stays.
    """
    if not path.is_file():
        raise UserError(f"no weights at {path}")
    _check_pointer(path)
    try:
        return without_wrappers(load_tensors(path) if dtype is None else _copied(path, dtype), path)
    except (SafetensorError, OSError, ValueError, RuntimeError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise _damaged(path, error) from error


def _copied(path: Path, dtype: torch.dtype) -> StateDict:
    state: StateDict = {}
    with open_tensors(path) as file:
        names = list(file.keys())
    while names:
        mapped = 0
        with open_tensors(path) as file:
            while names and mapped < AT_ONCE:
                value = file.get_tensor(name := names.pop(0))
                mapped += value.nbytes
                changes = value.is_floating_point() and value.dtype != dtype and not name.endswith(SCALE)
                state[name] = value.to(dtype) if changes else value.clone()
                del value  # the last one would keep the file mapped
    return state


def _parts(index: Path) -> list[Path]:
    named = read_json(index, limit=INDEX_BYTES).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise UserError(f"{index} must hold a `weight_map` of tensors to files")
    names = list(dict.fromkeys(name if isinstance(name, str) else repr(name) for name in named.values()))
    parts = [inside(index.parent, name, index, links=True) for name in names]  # a hub's cache is made of links
    wrong = [part.name for part in parts if part.suffix != ".safetensors" or not part.is_file()]
    if wrong:
        raise UserError(f"{index} names {wrong[0]}, which is no safetensors file in {index.parent}")
    return parts


def _check_pointer(path: Path) -> None:
    try:
        with path.open("rb") as file:
            pointer = file.read(len(LFS)) == LFS.encode()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if pointer:
        raise UserError(f"{path} is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`")


def _damaged(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return UserError(f"{path} is not a safetensors file, or it is cut off or damaged: {reason}")
