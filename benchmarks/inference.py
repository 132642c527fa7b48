"""Captions to sounds beside the official way of computing it: equal clips, seconds per stage, ratio, peak memory.

    python -m benchmarks.inference                                        # official size, random weights
    python -m benchmarks.inference --dtype fp32 bf16 int8                 # ours in each, beside the same official way
    python -m benchmarks.inference --model dit                            # SoundCTM-DiT at 44.1 kHz, random weights
    python -m benchmarks.inference --model mini                           # the small model that is shipped
    python -m benchmarks.inference --device cuda --dtype bf16 --batch_sizes 1 8 32 --steps 1 4 --write times.json
    python -m benchmarks.inference --device cuda --dtype bf16 --modes eager graphs    # pipe.compile("graphs") as well

Nothing needs to be downloaded. Both ways have the same weights, run in one process, and take turns. The official way
(`benchmarks.plain.inference`, `benchmarks.plain.dit`) is float32 and makes one clip at a time; ours runs in `--dtype`
and in batches. First their clips are compared: in float32 they must agree to 1e-3 of the largest latent and waveform
value. Every repetition has new captions, so that no text comes out of a cache. Seconds of stages come from runs of
their own, on a GPU by its own clock. The file of `--write` is written anew after every row.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import itertools
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.machine import describe
from benchmarks.measuring import PeakMemory
from benchmarks.plain.dit import PlainDiTInference
from benchmarks.plain.inference import PlainInference
from benchmarks.random_models import SIZES, random_dit_model, random_small_model, random_unet_model
from benchmarks.stages import codec_parts, finished, reached, stage_seconds, stages_of, tflop
from soundctm.acceleration import MODES
from soundctm.checkpoints import Components, load_checkpoint
from soundctm.command import exit_code
from soundctm.errors import UserError
from soundctm.files import write_whole
from soundctm.pipeline import SoundCTMPipeline
from soundctm.training.running.flops import device_peak

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
MODELS = ("unet", "dit", "mini")
EAGER = "eager"
MODES_OF_OURS = (EAGER, *MODES)
OMEGA = {"unet": 3.5, "dit": 5.0, "mini": 3.5}
SMALL = Path(__file__).parent.parent / "ckpt" / "mini"
TOLERANCE = 1e-3  # relative to the largest value, in float32
SEED = 7
FRESH = itertools.count(100_000)
CAPTION = "a dog barking in the rain while a train passes number {}"


def parts_of(args: argparse.Namespace, device: torch.device) -> Components:
    """The networks of `--model`, with random weights where it is not the small model, or that is not here."""
    if args.model != "mini":
        return {"unet": random_unet_model, "dit": random_dit_model}[args.model](args.size, device)
    try:
        return load_checkpoint(SMALL, "ema")
    except UserError as error:
        print(f"random weights of the small model's shapes instead of its own: {error}", flush=True)
        return random_small_model(device)


def build(args: argparse.Namespace, device: torch.device) -> tuple[PlainInference, SoundCTMPipeline]:
    """Both ways, each with networks of its own of the same weights."""
    plain = PlainDiTInference if args.model == "dit" else PlainInference
    parts = parts_of(args, device)
    return plain(parts, device), _pipeline(parts, args, device)


def _pipeline(parts: Components, args: argparse.Namespace, device: torch.device) -> SoundCTMPipeline:
    if args.dtype == "int8":
        return SoundCTMPipeline.from_parts(_copied(parts), "ema", device).quantize()
    return SoundCTMPipeline.from_parts(_in_dtype(_copied(parts), DTYPES[args.dtype]), "ema", device)


def _copied(parts: Components) -> Components:
    encoder = copy.copy(parts.text_encoder)  # the tokenizer may be shared
    encoder._modules = {"model": copy.deepcopy(parts.text_encoder.model)}
    encoder._cache = type(parts.text_encoder._cache)()
    return dataclasses.replace(
        parts, ema=copy.deepcopy(parts.ema), codec=copy.deepcopy(parts.codec), text_encoder=encoder
    )


def _in_dtype(parts: Components, dtype: torch.dtype) -> Components:
    if dtype != torch.float32:
        for module in (parts.ema, *codec_parts(parts.codec).values(), parts.text_encoder.model):
            nn.Module.to(module, dtype)
    return parts


def captions(count: int) -> list[str]:
    """Captions that no cache has seen, all of one length."""
    return [CAPTION.format(next(FRESH)) for _ in range(count)]


def compare(plain: PlainInference, pipe: SoundCTMPipeline, steps: int, omega: float = 3.5) -> dict[str, float]:
    """How far the clips of both ways lie apart: largest differences over largest values, and decibels."""
    caption = captions(1)[0]
    return differences(clip(pipe, caption, steps, omega), plain_clip(plain, caption, steps, omega))


Clip = tuple[torch.Tensor, torch.Tensor]  # latents and waveform on the CPU, float32


def clip(pipe: SoundCTMPipeline, caption: str, steps: int, omega: float) -> Clip:
    """Ours."""
    made = pipe(caption, steps, sampler="deterministic", omega=omega, nu=1.0, seed=[SEED])
    return made.latents.float().cpu(), torch.from_numpy(made.audios)


def plain_clip(plain: PlainInference, caption: str, steps: int, omega: float) -> Clip:
    """The official way's, turned down as ours is where it asks for more than full scale."""
    made = plain(caption, SEED, steps, omega)
    waveform = made.waveform.float().cpu()
    return made.latents.float().cpu(), waveform / waveform.abs().amax().clamp_min(1.0)


def differences(found: Clip, wanted: Clip) -> dict[str, float]:
    """Largest differences over largest values, and levels above the difference in decibels."""
    return {
        "latents": _apart(found[0], wanted[0]),
        "waveform": _apart(found[1], wanted[1]),
        "latents_db": _decibels(found[0], wanted[0]),
        "waveform_db": _decibels(found[1], wanted[1]),
    }


def _decibels(found: torch.Tensor, wanted: torch.Tensor) -> float:
    difference = (found - wanted).square().mean().item()
    return 10 * math.log10(max(wanted.square().mean().item(), 1e-30) / max(difference, 1e-30))


def _apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return ((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12)).item()


class Measurement:
    """All that is measured of one model; `entries` has one per way of computing, number of steps and batch size."""

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        self.args, self.device, self.omega = args, device, OMEGA[args.model]
        self.dtypes = [args.dtype] if isinstance(args.dtype, str) else list(args.dtype)
        self.parts = parts_of(args, device)
        self.plain = (PlainDiTInference if args.model == "dit" else PlainInference)(self.parts, device)
        self.entries: list[dict[str, Any]] = []
        self.caption = captions(1)[0]
        self.reached: float | None = None  # FLOP/s of a large matrix product
        self.work: tuple[float, float] | None = None  # TFLOP of a clip at one step, and of its network
        self.official: dict[int, dict[str, Any]] = {}
        self.wanted: dict[int, Clip] = {}
        self.eager: dict[int, Clip] = {}

    def run(self, done: Callable[[], None] = lambda: None) -> list[dict[str, Any]]:
        """Measure everything; `done` is called after each entry. Raises UserError when float32 clips do not agree."""
        for dtype in self.dtypes:
            self.args, self.eager = argparse.Namespace(**{**vars(self.args), "dtype": dtype}), {}
            self.reached = None if dtype == "int8" else reached(self.device, DTYPES[dtype])
            for mode in self.args.modes:
                pipe = _pipeline(self.parts, self.args, self.device)
                if self.work is None:
                    self.work = self._work(pipe)
                if mode != EAGER:
                    pipe.compile(mode)
                for steps in self.args.steps:
                    self.rows(pipe, mode, steps, done)
                del pipe  # before the next one is made
        return self.entries

    def _work(self, pipe: SoundCTMPipeline) -> tuple[float, float]:
        """TFLOP of a clip at one step and of its network, by a way whose products can be seen; int8 hides them."""
        if self.args.dtype != "int8":
            return tflop(stages_of(pipe), functools.partial(self._ours, pipe, 1, 1))
        whole, network = tflop(stages_of(self.plain), functools.partial(self._official, 1))
        return whole - network / 2, network / 2  # of which the half without text is superfluous

    def rows(self, pipe: SoundCTMPipeline, mode: str, steps: int, done: Callable[[], None]) -> None:
        """The entries of one number of steps."""
        args = self.args
        official = steps not in self.official and steps in (args.official_steps or args.steps)
        if steps not in self.wanted:
            self.wanted[steps] = plain_clip(self.plain, self.caption, steps, self.omega)
        pipe.text_encoder._cache.clear()
        made = clip(pipe, self.caption, steps, self.omega)
        apart = differences(made, self.wanted[steps])
        from_eager = differences(made, self.eager.setdefault(steps, made))
        for found in (apart, from_eager):
            if args.dtype == "fp32" and not max(found["latents"], found["waveform"]) <= TOLERANCE:
                raise UserError(f"the two ways do not agree to {TOLERANCE} in float32: {found}")
        ways: dict[int, Callable[[], None]] = {0: functools.partial(self._official, steps)} if official else {}
        ways |= {count: functools.partial(self._ours, pipe, steps, count) for count in args.batch_sizes}  # 0: official
        walls: dict[int, list[float]] = {count: [] for count in ways}
        peaks: dict[int, int | None] = {}
        for turn in range(args.repeats + 1):  # the first one warms up
            for count, run in ways.items():
                if count == 0 and turn > (args.official_repeats or args.repeats):
                    continue
                with PeakMemory(self.device) as peak:
                    start = finished(self.device)
                    run()
                    walls[count].append(finished(self.device) - start)
                if turn:
                    peaks[count] = max(peaks.get(count) or 0, peak.bytes) if peak.bytes is not None else None
        if official:
            stages = stage_seconds(stages_of(self.plain), ways[0], self.device)
            self.official[steps] = _way(walls[0], 1, peaks[0], stages)
        for count in args.batch_sizes:
            stages = stage_seconds(stages_of(pipe), ways[count], self.device)
            way = _way(walls[count], count, peaks[count], stages)
            entry = {"dtype": args.dtype, "mode": mode, "steps": steps, "batch_size": count}
            entry |= {"ours": way, "apart": apart}
            if mode != EAGER and EAGER in args.modes:
                entry["apart_from_eager"] = from_eager
            entry |= {"real_time_factor": way["seconds_per_clip"] / self.seconds(pipe), **self._share(entry)}
            entry["seconds_of_sound"] = self.seconds(pipe)
            if steps in self.official:
                other = self.official[steps]
                entry |= {"official": other, "ratio": other["seconds_per_clip"] / way["seconds_per_clip"]}
            if pipe.compiled is not None:
                entry["compiled"] = {
                    "recording_seconds": pipe.compiled.seconds,
                    "failures": pipe.compiled.graphs.failures,
                    "remarks": pipe.compiled.remarks,
                    "blocks": pipe.compiled.blocks,
                }
            self.entries.append(entry)
            show(entry)
            done()

    def seconds(self, pipe: SoundCTMPipeline) -> float:
        """Length of a clip."""
        return pipe.codec.latent_shape()[1] * pipe.codec.samples_per_latent / pipe.codec.sampling_rate

    def _official(self, steps: int) -> None:
        self.plain(captions(1)[0], SEED, steps, self.omega)

    def _ours(self, pipe: SoundCTMPipeline, steps: int, count: int) -> None:
        seeds = list(range(count))
        pipe(captions(count), steps, sampler="deterministic", omega=self.omega, nu=1.0, seed=seeds)

    def _share(self, entry: dict[str, Any]) -> dict[str, float]:
        """TFLOP of the call and of its network, and what share of the device's rate the network reaches."""
        whole, network = self.work
        own = network * entry["steps"] * entry["batch_size"]
        found = {"tflop": own + (whole - network) * entry["batch_size"], "network_tflop": own}
        rate = own * 1e12 / entry["ours"]["stages"]["network"]
        if peak := device_peak(self.device, self.args.dtype):
            found["network_share_of_peak"] = rate / peak
        if self.reached:
            found |= {"network_share_of_matmul": rate / self.reached, "matmul_tflop_per_second": self.reached / 1e12}
        return found


def _way(walls: list[float], count: int, peak: int | None, stages: dict[str, float]) -> dict[str, Any]:
    wall = statistics.median(walls[1:])
    memory = None if peak is None else round(peak / 2**30, 3)
    return {
        "seconds": wall,
        "seconds_per_clip": wall / count,
        "first_seconds": walls[0],
        "all_seconds": walls[1:],
        "stages": stages,
        "peak_gib_above_networks": memory,
    }


def show(entry: dict[str, Any]) -> None:
    """One line for people, and one of stages for each way."""
    own, other = entry["ours"], entry.get("official")
    beside = (
        "" if other is None else f", official {other['seconds_per_clip']:.4f} s: {entry['ratio']:.2f} times as fast"
    )
    whats = {"network_share_of_peak": "peak", "network_share_of_matmul": "a matrix product's rate"}
    share = "".join(f", {entry[name]:.1%} of {what}" for name, what in whats.items() if name in entry)
    apart = entry["apart"]
    print(
        f"{entry['dtype']}, {entry['mode']}, {entry['steps']} steps, {entry['batch_size']} at once: "
        f"{own['seconds_per_clip']:.4f} s per "
        f"clip{beside}, {entry['real_time_factor']:.4f} of real time; clips differ by {apart['waveform']:.1e}, "
        f"{apart['waveform_db']:.0f} dB"
    )
    if "apart_from_eager" in entry:
        print(
            f"  from eager by {entry['apart_from_eager']['waveform']:.1e}, latents "
            f"{entry['apart_from_eager']['latents']:.1e}; {json.dumps(entry['compiled'])}"
        )
    for name, way in (("official", other), ("ours", own)):
        if way is None:
            continue
        stages = ", ".join(f"{stage} {1e3 * seconds:.2f}" for stage, seconds in way["stages"].items())
        memory = way["peak_gib_above_networks"]
        above = "" if memory is None else f"; {memory:.2f} GiB above the networks"
        work = share if name == "ours" else ""
        print(f"  {name}: {stages} ms{above}; first call {way['first_seconds']:.2f} s{work}", flush=True)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Prints what was measured and returns it as it is written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="unet")
    parser.add_argument("--size", choices=SIZES, default="full", help="of unet and dit; mini has its own")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=["fp32"], help="of ours, in turn")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=3, help="the median counts")
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=MODES_OF_OURS,
        default=[EAGER],
        help="of ours, in turn: pipe.compile's",
    )
    parser.add_argument("--official_steps", type=int, nargs="+", help="of --steps, where the official way is timed too")
    parser.add_argument("--official_repeats", type=int, help="of the official way; none is --repeats")
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
    print(f"{args.model} ({size}), ours in {', '.join(args.dtype)}, on {where}", flush=True)
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    measurement = Measurement(args, device)
    found = {"machine": machine, "options": options, "results": measurement.entries}

    def write() -> None:
        if args.write:
            write_whole(args.write, json.dumps(found, indent=1) + "\n")

    measurement.run(write)
    return found


if __name__ == "__main__":
    sys.exit(exit_code(main))
