"""Captions to sounds beside the official way of computing it: equal clips, seconds per stage, ratio, peak memory.

    python -m benchmarks.inference                                        # official size, random weights
    python -m benchmarks.inference --model dit                            # SoundCTM-DiT at 44.1 kHz, random weights
    python -m benchmarks.inference --model mini                           # the small model that is shipped
    python -m benchmarks.inference --device cuda --dtype bf16 --batch_sizes 1 8 32 --steps 1 4 --write times.json

Nothing needs to be downloaded. Both ways have the same weights, run in one process, and take turns. The official way
(`benchmarks.plain_inference`, `benchmarks.plain_dit`) is float32 and makes one clip at a time; ours runs in `--dtype`
and in batches. First their clips are compared: in float32 they must agree to 1e-3 of the largest latent and waveform
value. Every repetition has new captions, so that no text comes out of a cache. Seconds of stages come from runs of
their own, because a GPU has to be waited for at each stage.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import functools
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import describe
from benchmarks.measuring import PeakMemory
from benchmarks.plain_dit import PlainDiTInference
from benchmarks.plain_inference import PlainInference
from benchmarks.random_models import SIZES, random_dit_model, random_unet_model
from soundctm.checkpoints import Components, load_checkpoint
from soundctm.errors import UserError
from soundctm.files import write_whole
from soundctm.pipeline import SoundCTMPipeline
from soundctm.training.running.flops import device_peak

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
MODELS = ("unet", "dit", "mini")
OMEGA = {"unet": 3.5, "dit": 5.0, "mini": 3.5}
SMALL = Path(__file__).parent.parent / "ckpt" / "mini"
TOLERANCE = 1e-3  # relative to the largest value, in float32
SEED = 7
FRESH = itertools.count(100_000)
CAPTION = "a dog barking in the rain while a train passes number {}"


def build(args: argparse.Namespace, device: torch.device) -> tuple[PlainInference, SoundCTMPipeline]:
    """Both ways, each with networks of its own of the same weights."""
    plain = PlainDiTInference if args.model == "dit" else PlainInference
    if args.model == "mini":
        parts = load_checkpoint(SMALL, "ema")
    else:
        parts = {"unet": random_unet_model, "dit": random_dit_model}[args.model](args.size, device)
    ours = _in_dtype(_copied(parts), DTYPES[args.dtype])
    pipe = SoundCTMPipeline(ours, "ema", device)
    if args.compile:
        _compile(pipe)
    return plain(parts, device), pipe


def _copied(parts: Components) -> Components:
    encoder = copy.copy(parts.text_encoder)  # the tokenizer may be shared
    encoder._modules = {"model": copy.deepcopy(parts.text_encoder.model)}
    encoder._cache = type(parts.text_encoder._cache)()
    return dataclasses.replace(
        parts, ema=copy.deepcopy(parts.ema), codec=copy.deepcopy(parts.codec), text_encoder=encoder
    )


def _in_dtype(parts: Components, dtype: torch.dtype) -> Components:
    if dtype != torch.float32:
        for module in (parts.ema, *_codec_parts(parts.codec).values(), parts.text_encoder.model):
            nn.Module.to(module, dtype)
    return parts


def _compile(pipe: SoundCTMPipeline) -> None:
    if hasattr(pipe, "compile"):
        pipe.compile()
        return
    for module in filter(None, _stages(pipe).values()):
        module.compile()


def _stages(way: PlainInference | SoundCTMPipeline) -> dict[str, nn.Module]:
    """The module of each stage, in either way."""
    if isinstance(way, PlainInference):
        network, encoder = way.network, way.encoder
    else:
        network, encoder = way.parts.ema, way.text_encoder.model
    encoder = getattr(encoder, "text_model", encoder)  # of CLAP the part that is called
    codec = _codec_parts(way.codec)
    if "vae" in codec:
        codec["vae"] = getattr(codec["vae"], "decoder", None)
    used = {name: codec[name] for name in ("vae", "vocoder", "decoder") if name in codec}
    return {"text": encoder, "network": network, **used}


def _codec_parts(codec: nn.Module) -> dict[str, nn.Module]:
    """The modules of a codec whose precision may change."""
    if hasattr(codec, "vae"):
        return {"vae": codec.vae, "vocoder": codec.vocoder}
    return {name: getattr(codec, name) for name in ("encoder", "decoder", "pre_conv", "post_conv")}


class StageClock:
    """Seconds within the modules of `stages`, by name; what lies between them is "rest"."""

    def __init__(self, stages: dict[str, nn.Module | None], device: torch.device) -> None:
        self.stages = {name: module for name, module in stages.items() if module is not None}
        self.device, self.seconds = device, dict.fromkeys(self.stages, 0.0)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Time everything inside the block."""
        hooks, began = [], {}

        def enter(name: str) -> Callable[..., None]:
            def hook(*_: object) -> None:
                began[name] = self._now()

            return hook

        def leave(name: str) -> Callable[..., None]:
            def hook(*_: object) -> None:
                self.seconds[name] += self._now() - began.pop(name)

            return hook

        for name, module in self.stages.items():
            hooks += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave(name))]
        start = self._now()
        try:
            yield
        finally:
            self.seconds["rest"] = self._now() - start - sum(self.seconds.values())
            for hook in hooks:
                hook.remove()

    def _now(self) -> float:
        return finished(self.device)


def finished(device: torch.device) -> float:
    """The time, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def captions(count: int) -> list[str]:
    """Captions that no cache has seen, all of one length."""
    return [CAPTION.format(next(FRESH)) for _ in range(count)]


def compare(plain: PlainInference, pipe: SoundCTMPipeline, steps: int, omega: float = 3.5) -> dict[str, float]:
    """How far the clips of both ways lie apart: largest differences over largest values, and decibels."""
    caption = captions(1)[0]
    wanted = plain(caption, SEED, steps, omega)
    made = pipe(caption, steps, sampler="deterministic", omega=omega, nu=1.0, seed=[SEED])
    latents, waveform = made.latents.float().cpu(), torch.from_numpy(made.audios)
    peaks = wanted.waveform.float().cpu()
    peaks = peaks / peaks.abs().amax().clamp_min(1.0)  # as ours turns a clip down that asks for more than full scale
    difference = (waveform - peaks).square().mean().item()
    return {
        "latents": _apart(latents, wanted.latents.float().cpu()),
        "waveform": _apart(waveform, peaks),
        "waveform_db": 10 * torch.tensor(peaks.square().mean().item() / max(difference, 1e-30)).log10().item(),
    }


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12)).item()


def measure(args: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """One entry per number of steps and batch size. Raises UserError when float32 clips do not agree."""
    plain, pipe = build(args, device)
    omega = OMEGA[args.model]
    seconds = pipe.codec.latent_shape()[1] * pipe.codec.samples_per_latent / pipe.codec.sampling_rate
    entries = []
    for steps in args.steps:
        apart = compare(plain, pipe, steps, omega)
        if args.dtype == "fp32" and not max(apart["latents"], apart["waveform"]) <= TOLERANCE:
            raise UserError(f"the two ways do not agree to {TOLERANCE} in float32: {apart}")

        def official(steps: int = steps) -> None:
            plain(captions(1)[0], SEED, steps, omega)

        def ours(count: int, steps: int = steps) -> None:
            pipe(captions(count), steps, sampler="deterministic", omega=omega, nu=1.0, seed=list(range(count)))

        ways: dict[int, Callable[[], None]] = {0: official}  # by clips at once, 0 is the official one
        ways |= {count: functools.partial(ours, count) for count in args.batch_sizes}
        walls: dict[int, list[float]] = {count: [] for count in ways}
        peaks: dict[int, int | None] = {}
        for turn in range(args.repeats + 1):
            for count, run in ways.items():
                with PeakMemory(device) as peak:
                    start = finished(device)
                    run()
                    wall = finished(device) - start
                if turn:  # the first one warms up
                    walls[count].append(wall)
                    peaks[count] = max(peaks.get(count) or 0, peak.bytes) if peak.bytes is not None else None
        plain_way = _way(walls[0], 1, peaks[0], _stage_seconds(plain, official, device))
        for count in args.batch_sizes:
            stages = _stage_seconds(pipe, ways[count], device)
            way = _way(walls[count], count, peaks[count], stages)
            entries.append(
                {
                    "steps": steps,
                    "batch_size": count,
                    "official": plain_way,
                    "ours": way,
                    "ratio": plain_way["seconds_per_clip"] / way["seconds_per_clip"],
                    "real_time_factor": way["seconds_per_clip"] / seconds,
                    "seconds_of_sound": seconds,
                    "apart": apart,
                    **_use(pipe, ways[count], stages, args, device),
                }
            )
            show(entries[-1])
    return entries


def _way(walls: list[float], count: int, peak: int | None, stages: dict[str, float]) -> dict[str, Any]:
    wall = statistics.median(walls)
    memory = None if peak is None else round(peak / 2**30, 3)
    return {
        "seconds": wall,
        "seconds_per_clip": wall / count,
        "all_seconds": walls,
        "stages": stages,
        "peak_gib_above_networks": memory,
    }


def _stage_seconds(way: PlainInference | SoundCTMPipeline, run: Callable[[], None], device: torch.device) -> dict:
    clock = StageClock(_stages(way), device)
    with clock.running():
        run()
    return clock.seconds


def _use(
    pipe: SoundCTMPipeline, run: Callable[[], None], stages: dict, args: argparse.Namespace, device: torch.device
) -> dict[str, float]:
    """TFLOP of a whole call, of the network alone, and the network's share of the device's peak where that is known."""
    if args.compile:  # graphs hide what they compute
        return {}
    whole, network, module = FlopCounterMode(display=False), FlopCounterMode(display=False), pipe.parts.ema
    own = 0

    def leave(*_: object) -> None:
        nonlocal own
        network.__exit__(None, None, None)
        own += network.get_total_flops()  # a counter begins at 0 whenever it is entered

    hooks = [
        module.register_forward_pre_hook(lambda *_: network.__enter__() and None),
        module.register_forward_hook(leave),
    ]
    with whole:
        run()
    for hook in hooks:
        hook.remove()
    found = {"tflop": whole.get_total_flops() / 1e12, "network_tflop": own / 1e12}
    if peak := device_peak(device, args.dtype):
        found["network_share_of_peak"] = own / stages["network"] / peak
    return found


def show(entry: dict[str, Any]) -> None:
    """One line for people, and one of stages for each way."""
    own, other = entry["ours"], entry["official"]
    print(
        f"{entry['steps']} steps, {entry['batch_size']} at once: {own['seconds_per_clip']:.4f} s per clip, official "
        f"{other['seconds_per_clip']:.4f} s: {entry['ratio']:.2f} times as fast, {entry['real_time_factor']:.4f} of "
        f"real time; clips differ by {entry['apart']['waveform']:.1e}, {entry['apart']['waveform_db']:.0f} dB"
    )
    for name, way in (("official", other), ("ours", own)):
        stages = ", ".join(f"{stage} {seconds:.4f}" for stage, seconds in way["stages"].items())
        memory = way["peak_gib_above_networks"]
        above = "" if memory is None else f"; {memory:.2f} GiB above the networks"
        print(f"  {name}: {stages} s{above}", flush=True)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints what was measured and returns it as it is written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="unet")
    parser.add_argument("--size", choices=SIZES, default="full", help="of unet and dit; mini has its own")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="of ours")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=3, help="the median counts")
    parser.add_argument("--compile", action="store_true", help="our networks compiled; the first turn compiles")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--write", type=Path, metavar="JSON", help="file for everything measured")
    args = parser.parse_args(arguments)
    if min(*args.batch_sizes, *args.steps, args.repeats) < 1:
        raise UserError("batch sizes, steps and repeats must be at least 1")
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    machine = describe(device)
    size = "as shipped" if args.model == "mini" else args.size
    where = machine.get("gpu", f"{machine['cpu']}, {machine['threads']} threads")
    print(f"{args.model} ({size}), ours in {args.dtype}, on {where}", flush=True)
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    found = {"machine": machine, "options": options, "results": measure(args, device)}
    if args.write:
        write_whole(args.write, json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
