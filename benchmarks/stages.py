"""Where the time of a clip goes: seconds and operations of its stages, without waiting for the GPU in between.

A stage is a function that an object is called by. While it is measured, another one stands in its place on that object.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain.inference import PlainInference
from soundctm.pipeline import SoundCTMPipeline

Stages = dict[str, tuple[object, str]]  # the object, and the name of its function
SIDE, PRODUCTS = 8192, 10  # of the matrix product that tells what a GPU reaches


def stages_of(way: PlainInference | SoundCTMPipeline) -> Stages:
    """Text, network and the parts of the codec, of either way."""
    if isinstance(way, PlainInference):
        encoder = getattr(way.encoder, "text_model", way.encoder)  # of CLAP the part that is called
        found: Stages = {"text": (encoder, "forward"), "network": (way.network, "forward")}
    else:
        found = {"text": (way.text_encoder, "encode_ids"), "network": (way.denoiser, "forward")}
    parts = codec_parts(way.codec)
    if "vae" in parts:
        parts["vae"] = getattr(parts["vae"], "decoder", None)  # a linear one has none
    used = {name: parts.get(name) for name in ("vae", "vocoder", "decoder")}
    return found | {name: (part, "forward") for name, part in used.items() if part is not None}


def codec_parts(codec: nn.Module) -> dict[str, nn.Module]:
    """The modules of a codec whose precision may change."""
    if hasattr(codec, "vae"):
        return {"vae": codec.vae, "vocoder": codec.vocoder}
    return {name: getattr(codec, name) for name in ("encoder", "decoder", "pre_conv", "post_conv")}


@contextlib.contextmanager
def around(stages: Stages, wrap: Callable[[str, Callable], Callable]) -> Iterator[None]:
    """Within the block every stage is `wrap(name, function)` instead of its function."""
    before = {name: vars(owner).get(function) for name, (owner, function) in stages.items()}
    for name, (owner, function) in stages.items():
        setattr(owner, function, wrap(name, getattr(owner, function)))
    try:
        yield
    finally:
        for name, (owner, function) in stages.items():
            if before[name] is None:
                delattr(owner, function)
            else:
                setattr(owner, function, before[name])


def stage_seconds(stages: Stages, run: Callable[[], None], device: torch.device) -> dict[str, float]:
    """Seconds within each stage of one `run`, and "rest" between them. On a GPU by events of its own clock."""
    spans: dict[str, list[tuple]] = {name: [] for name in stages}

    def wrap(name: str, function: Callable) -> Callable:
        def timed(*args: object, **kwargs: object) -> object:
            start = _mark(device)
            result = function(*args, **kwargs)
            spans[name].append((start, _mark(device)))
            return result

        return timed

    finished(device)
    with around(stages, wrap):
        start = _mark(device)
        run()
        end = _mark(device)
    finished(device)
    seconds = {name: sum(_between(*span) for span in spans[name]) for name in stages}
    return seconds | {"rest": _between(start, end) - sum(seconds.values())}


def tflop(stages: Stages, run: Callable[[], None]) -> tuple[float, float]:
    """10^12 operations of matrix products and convolutions in one `run`, and in its network alone."""
    ours = {torch.ops.mkldnn._linear_pointwise: _linear} if torch.backends.mkldnn.is_available() else {}
    whole, inner = (FlopCounterMode(display=False, custom_mapping=ours) for _ in range(2))
    own = 0

    def wrap(_: str, function: Callable) -> Callable:
        def counted(*args: object, **kwargs: object) -> object:
            nonlocal own
            with inner:  # it begins at 0 whenever it is entered
                result = function(*args, **kwargs)
            own += inner.get_total_flops()
            return result

        return counted

    with around({"network": stages["network"]}, wrap), whole:
        run()
    return whole.get_total_flops() / 1e12, own / 1e12


def _linear(x: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object) -> int:
    """Operations of a product by oneDNN, of the shapes that are given."""
    return 2 * math.prod(x) * weight[0]


def reached(device: torch.device, dtype: torch.dtype) -> float | None:
    """FLOP/s of a large matrix product on random numbers, on a GPU: what a network can be measured against."""
    if device.type != "cuda":
        return None
    left, right = (torch.randn(SIDE, SIDE, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    start = _mark(device)
    for _ in range(PRODUCTS):
        left @ right
    end = _mark(device)
    finished(device)
    return PRODUCTS * 2 * SIDE**3 / _between(start, end)


def finished(device: torch.device) -> float:
    """The time, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _mark(device: torch.device) -> float | torch.cuda.Event:
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(start: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    return end - start if isinstance(start, float) else start.elapsed_time(end) / 1e3
