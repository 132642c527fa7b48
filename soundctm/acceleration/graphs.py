"""CUDA graphs of functions of tensors: one per shape of what comes in, recorded when that shape is first met.

A network call starts hundreds of kernels, and at small batches starting them takes longer than running them. A graph
starts all of them at once. It reads and writes fixed places in memory: what comes in is copied to where it was when the
graph was recorded, what comes out is copied from there.

    graphs = Graphs()
    denoiser.forward = graphs.of("network", denoiser.forward)

Where there can be no graph the function is simply called: with gradients, for tensors that are not on a GPU, inside
another recording, or after a recording has failed, of which one line is logged.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import torch

log = logging.getLogger(__name__)

WARM_UPS = 3  # runs before the recording, in which libraries choose their kernels
SHAPES = 16  # graphs kept per function; the one that was used longest ago goes first
Prepare = Callable[[Any], Any]  # an argument -> what is given instead
Run = Callable[[], torch.Tensor]
Recorder = Callable[[Run], tuple[Callable[[], None], torch.Tensor]]  # -> what repeats the run, and where its result is


class Graphs:
    """Graphs that share their working memory, and how long it took to record them."""

    def __init__(self, recorder: Recorder | None = None, shapes: int = SHAPES) -> None:
        """`recorder` records with something else than CUDA graphs, on any device."""
        self.recorder, self.shapes = recorder, shapes
        self.any_device = recorder is not None
        self.seconds: list[tuple[str, float]] = []  # of each recording, warm-up included, by name
        self.failures: dict[str, str] = {}  # why there are no graphs of a function
        self._pool: Any = None

    def of(self, name: str, function: Callable[..., torch.Tensor], prepare: Prepare | None = None) -> Graphed:
        """`function` with graphs; `name` is for people. `prepare` makes arguments alike, so that few graphs serve."""
        return Graphed(name, function, self, prepare)

    def record(self, run: Run) -> tuple[Callable[[], None], torch.Tensor]:
        """Record `run`. Raises RuntimeError where it does what a graph cannot."""
        if self.recorder is not None:
            return self.recorder(run)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        return record_cuda(run, self._pool)


class Graphed:
    """A function of tensors that runs as graphs; see the module's text."""

    def __init__(
        self, name: str, function: Callable[..., torch.Tensor], graphs: Graphs, prepare: Prepare | None = None
    ) -> None:
        self.name, self.function, self.graphs, self.prepare = name, function, graphs, prepare
        self._recorded: OrderedDict[Hashable, _Recorded] = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """What the function gives, in memory of its own."""
        if self.prepare is not None and not torch.is_grad_enabled():
            args = tuple(map(self.prepare, args))
            kwargs = {name: self.prepare(value) for name, value in kwargs.items()}
        tensors: list[torch.Tensor] = []
        key = (_shape_of(args, tensors), _shape_of(kwargs, tensors), _numbers_format(tensors))
        if not self._possible(tensors):
            return self.function(*args, **kwargs)
        recorded = self._recorded.get(key)
        if recorded is None:
            recorded = self._record(args, kwargs, tensors)
            if recorded is None:
                return self.function(*args, **kwargs)
            self._recorded[key] = recorded
            if len(self._recorded) > self.graphs.shapes:
                self._recorded.popitem(last=False)
        self._recorded.move_to_end(key)
        return recorded(tensors)

    def __deepcopy__(self, memo: dict) -> Callable[..., torch.Tensor]:
        """A copy has other weights: it is the function without graphs."""
        return copy.deepcopy(self.function, memo)

    def _possible(self, tensors: list[torch.Tensor]) -> bool:
        if self.name in self.graphs.failures or torch.is_grad_enabled() or not tensors:
            return False
        if self.graphs.any_device:
            return True
        return all(tensor.is_cuda for tensor in tensors) and not torch.cuda.is_current_stream_capturing()

    def _record(self, args: tuple, kwargs: dict, tensors: list[torch.Tensor]) -> _Recorded | None:
        began = time.perf_counter()
        places = [tensor.clone() for tensor in tensors]
        fixed = iter(places)
        args, kwargs = _with(args, fixed), _with(kwargs, fixed)
        try:
            repeat, result = self.graphs.record(lambda: self.function(*args, **kwargs))
        except RuntimeError as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            self.graphs.failures[self.name] = reason
            log.warning("no CUDA graph of the %s, which runs without: %s", self.name, reason)
            return None
        self.graphs.seconds.append((self.name, time.perf_counter() - began))
        return _Recorded(places, repeat, result)


@dataclasses.dataclass
class _Recorded:
    places: list[torch.Tensor]
    repeat: Callable[[], None]
    result: torch.Tensor

    def __call__(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        for place, tensor in zip(self.places, tensors, strict=True):
            place.copy_(tensor)
        self.repeat()
        return self.result.clone()  # other graphs use the same memory


def record_cuda(run: Run, pool: Any) -> tuple[Callable[[], None], torch.Tensor]:
    """Record `run` on a stream of its own, after runs in which cuDNN tries which of its kernels are fastest."""
    stream, benchmark = torch.cuda.Stream(), torch.backends.cudnn.benchmark
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), _without_autocast_cache():
        torch.backends.cudnn.benchmark = True
        try:
            for _ in range(WARM_UPS):
                run()
        finally:
            torch.backends.cudnn.benchmark = benchmark
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    here = torch.cuda.current_stream()
    with (
        torch.cuda.stream(here),  # a recording that fails may leave its own stream behind as the current one
        _without_autocast_cache(),
        torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"),
    ):
        result = run()
    return graph.replay, result


class _without_autocast_cache:  # noqa: N801  (used like a function)
    """Weights that autocast keeps in another format would be read by a graph after they are gone."""

    def __enter__(self) -> None:
        self.before = torch.is_autocast_cache_enabled()
        torch.set_autocast_cache_enabled(False)

    def __exit__(self, *_: object) -> None:
        torch.set_autocast_cache_enabled(self.before)


def _numbers_format(tensors: list[torch.Tensor]) -> Hashable:
    """What else decides which kernels run."""
    kind = tensors[0].device.type if tensors else "cpu"
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _shape_of(value: Any, tensors: list[torch.Tensor]) -> Hashable:
    """What must be equal for the same graph to serve; the tensors in `value` are appended to `tensors`."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return value.shape, value.dtype, value.device
    if isinstance(value, tuple | list):
        return type(value), *(_shape_of(item, tensors) for item in value)
    if isinstance(value, dict):
        return tuple((name, _shape_of(item, tensors)) for name, item in value.items())
    if dataclasses.is_dataclass(value):
        return type(value), *(_shape_of(getattr(value, field.name), tensors) for field in dataclasses.fields(value))
    return value


def _with(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """`value` with other tensors, in the order of `_shape_of`."""
    if isinstance(value, torch.Tensor):
        return next(tensors)
    if isinstance(value, tuple | list):
        return type(value)(_with(item, tensors) for item in value)
    if isinstance(value, dict):
        return {name: _with(item, tensors) for name, item in value.items()}
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(
            value, **{f.name: _with(getattr(value, f.name), tensors) for f in dataclasses.fields(value)}
        )
    return value
