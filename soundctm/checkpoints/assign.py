"""Putting read tensors into modules: every key exactly once, every shape right, no second copy in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import nn

from soundctm.checkpoints.torch_files import StateDict, listing
from soundctm.errors import UserError

ModuleT = TypeVar("ModuleT", bound=nn.Module)
Shapes = Mapping[str, tuple[int, ...]]
ALIGNMENT = 64  # bytes, of torch's allocator on a CPU
COMPARED = (torch.float32, torch.float16, torch.bfloat16, torch.float64)  # formats of which a largest value can be had


def build(make: Callable[[], ModuleT], state: Mapping[str, torch.Tensor], source: str, dtype: torch.dtype) -> ModuleT:
    """`make()` with the tensors of `state` in `dtype`, in eval mode; tensors that have this dtype are not copied, but
    for those of a file that lie where matrix kernels take another path: equal weights shall give equal bits.

    The module is made on the meta device, so its initial weights never exist. Raises UserError naming the keys of
    `source` that are missing, not expected, of another shape or kind, or not finite.
    """
    with torch.device("meta"):
        module = make()
    expected = module.state_dict()
    check_keys(shapes(expected), shapes(state), source)
    check_kinds(expected, state, source)
    check_finite(state, source)
    values = {key: aligned(value.to(dtype)) if value.is_floating_point() else value for key, value in state.items()}
    module.load_state_dict(values, assign=True)
    left = [name for name, buffer in module.named_buffers() if buffer.is_meta]
    if left:  # a buffer that no file holds would have to be computed after loading
        raise RuntimeError(f"{type(module).__name__} has buffers outside its state dict: {listing(left)}")
    return module.eval()


def aligned(value: torch.Tensor) -> torch.Tensor:
    """`value`, copied if it does not begin where torch would have put it."""
    return value.clone() if value.device.type == "cpu" and value.data_ptr() % ALIGNMENT else value


def shapes(state: Mapping[str, torch.Tensor]) -> Shapes:
    """Name -> shape."""
    return {key: tuple(value.shape) for key, value in state.items()}


def check_keys(expected: Shapes, given: Shapes, source: str) -> None:
    """Raises one UserError that names what does not fit: the first few keys of each kind and their number."""
    missing = [key for key in expected if key not in given]
    extra = [key for key in given if key not in expected]
    misshapen = [
        f"{key} is {list(shape)}, not {list(expected[key])}"
        for key, shape in given.items()
        if key in expected and shape != expected[key]
    ]
    faults = [
        f"{len(names)} {'key' if len(names) == 1 else 'keys'} {what} ({listing(names)})"
        for names, what in ((missing, "missing"), (extra, "not expected"), (misshapen, "of another shape"))
        if names
    ]
    if faults:
        raise UserError(f"{source} does not fit this model: {'; '.join(faults)}")


def check_kinds(expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], source: str) -> None:
    """Raises UserError naming tensors of whole or complex numbers where a module has real ones, or the other way."""
    wrong = [
        key
        for key, value in state.items()
        if key in expected and value.is_floating_point() != expected[key].is_floating_point()
    ]
    if wrong:
        raise UserError(f"{source} has numbers of another kind, {state[wrong[0]].dtype}, for {listing(wrong)}")


def length_of(state: Mapping[str, torch.Tensor], key: str, source: str, axis: int = 0, prefix: str = "") -> int:
    """How long a tensor of a file that is to describe its model is. Raises UserError where it is not there, or flat."""
    value = state.get(key)
    if value is None or value.ndim <= axis:
        what = "missing" if value is None else f"of shape {list(value.shape)}"
        raise UserError(f"{source} describes no model of this kind: {prefix}{key} is {what}")
    return value.shape[axis]


def check_finite(state: Mapping[str, torch.Tensor], source: str) -> None:
    """Raises UserError naming tensors with NaN or infinite values: they would make every sound NaN."""
    wrong = [
        key for key, value in state.items() if value.is_floating_point() and not value.is_meta and not _finite(value)
    ]
    if wrong:
        raise UserError(f"{source} has weights that are NaN or infinite ({listing(wrong)}); take an intact copy")


def _finite(value: torch.Tensor) -> bool:
    """Are all values numbers? Needs no mask beside them, and a quarter of a second for 10^9 of them."""
    if not value.numel():
        return True
    if value.dtype not in COMPARED:
        return bool(value.sum(dtype=torch.float64).isfinite())
    # NaN goes through to both ends
    return all(bool(end.isfinite()) for end in torch.aminmax(value.detach().flatten()))


def split_prefix(state: StateDict, *prefixes: str) -> tuple[list[StateDict], StateDict]:
    """State dicts of the keys under each of `prefixes`, which are cut off, and the keys under none of them."""
    parts: list[StateDict] = [{} for _ in prefixes]
    rest: StateDict = {}
    for key, value in state.items():
        for prefix, part in zip(prefixes, parts, strict=True):
            if key.startswith(prefix):
                part[key.removeprefix(prefix)] = value
                break
        else:
            rest[key] = value
    return parts, rest
