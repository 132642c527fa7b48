"""One distillation step beside the official way of computing it: same draws, equal losses, time, memory, calls.

    python -m benchmarks.train_step                                  # two CPU cores, some minutes
    python -m benchmarks.train_step --size full                      # official size and batch; needs a GPU

A step is here forward and backward; the optimiser is the same in both. First both run in float32 and must agree to
1e-4 in every loss and in the gradient's norm. Then they are timed in turn, the official way as it is (float32, the
student alone in the precision chosen) and ours in that precision.

"reduced" divides every width of UNet and text encoder by 8, which keeps them in proportion, and cuts the latents to a
quarter of the length, which makes a caption four times as costly beside a clip as it is officially. `--official_text`
leaves the text encoder at its official size, as for a small student of flan-t5-large.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5EncoderModel

from benchmarks.machine import describe
from benchmarks.measuring import Counts, PeakMemory
from benchmarks.plain.step import EMPTY, Networks, PlainStep, Prompts, padded
from soundctm import precision
from soundctm.command import exit_code
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.distillation import Distillation, DistillationConfig, Draws, draw, tune
from soundctm.distillation.config import WEIGHTS
from soundctm.errors import UserError
from soundctm.files import write_whole
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.precision import computing_in
from soundctm.schedule import SigmaSchedule
from soundctm.solver import SOLVERS
from soundctm.text import TextConditioning, TextEncoder
from soundctm.training.running.flops import device_peak

CONFIGS = Path(__file__).parent.parent / "configs" / "full"
TOLERANCE = 1e-4  # relative, of losses and gradient norm in float32
Values = dict[str, float]


@dataclass(frozen=True)
class Size:
    """Changes to the official configurations, latents [C, T, F], and batch."""

    latents: tuple[int, int, int]
    batch: int
    solver_steps: int
    unet: dict = field(default_factory=dict)
    text: dict = field(default_factory=dict)


EIGHTH = {"block_out_channels": [40, 80, 160, 160], "norm_num_groups": 8}
SIZES = {
    "tiny": Size(
        (8, 16, 8), 2, 2,
        {
            "block_out_channels": [16, 16], "norm_num_groups": 4, "layers_per_block": 1,
            "attention_head_dim": [1, 2], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        },
        {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 2},
    ),
    "reduced": Size((8, 64, 16), 2, 20, EIGHTH, {"d_model": 128, "d_kv": 8, "d_ff": 352}),
    "full": Size((8, 256, 16), 8, 20),
}  # fmt: skip


class Bench:
    """The networks of a size with random weights, once for either way; a batch; a step's draws."""

    def __init__(self, args: argparse.Namespace, device: torch.device) -> None:
        size = SIZES[args.size]
        batch, self.solver_steps = args.batch_size or size.batch, args.solver_steps or size.solver_steps
        self.device, self.schedule = device, SigmaSchedule()
        self.config = DistillationConfig(num_heun_step_random=False, channels_last=args.channels_last or None)
        self.frozen = {
            "compile_frozen": args.compile, "graph_teacher": args.graph_teacher, "teacher_weights": args.teacher_weights
        }  # fmt: skip
        torch.manual_seed(0)
        text = json.loads((CONFIGS / "text_encoder.json").read_text()) | ({} if args.official_text else size.text)
        shape = json.loads((CONFIGS / "unet.json").read_text()) | size.unet | {"cross_attention_dim": text["d_model"]}
        with torch.device(device):
            kinds = {"teacher": TeacherUNet, "student": StudentUNet, "target": StudentUNet}
            unets = {name: kind.from_config(shape) for name, kind in kinds.items()}
            encoder = T5EncoderModel(T5Config(**{k: v for k, v in text.items() if k != "architectures"}))
        unets["target"].load_state_dict(unets["student"].state_dict())
        for frozen in (unets["teacher"], unets["target"], encoder):
            frozen.eval().requires_grad_(False)
        self.encoder = TextEncoder(encoder, "none: prompts are token ids", "random")
        self.plain = PlainStep(unets, encoder, self.schedule)
        self.unets = copy.deepcopy(unets)
        self.denoisers = [
            kind(unet, self.schedule)
            for kind, unet in zip((TeacherDenoiser, StudentDenoiser, StudentDenoiser), self.unets.values(), strict=True)
        ]
        tune(self.config, *self.denoisers)

        generator = torch.Generator().manual_seed(1)
        self.latents = 0.25 * torch.randn(batch, *size.latents, generator=generator).to(device)
        lengths = torch.randint(6, 12, (batch,), generator=generator).tolist()
        words = [torch.randint(3, text["vocab_size"], (length,), generator=generator).tolist() for length in lengths]
        self.prompts: Prompts = [(*some, *EMPTY) for some in words]
        self.draws = self.draw(self.solver_steps)

    def draw(self, solver_steps: int) -> Draws:
        """A step's draws, with so many solver steps."""
        config = dataclasses.replace(self.config, num_heun_step=solver_steps)
        drawn = draw(self.latents, config, self.schedule, torch.Generator().manual_seed(2))
        return drawn.to(self.device)

    def prepare(self) -> str:
        """Compute the teacher (and the target) as the options say from now on; returns what is different, for people.

        In another format than float32 it no longer agrees with the official way to 1e-4, hence not from the beginning.
        """
        self.config = dataclasses.replace(self.config, **self.frozen)
        tune(self.config, *self.denoisers)
        usual = DistillationConfig()
        changed = {name: value for name, value in self.frozen.items() if value != getattr(usual, name)}
        return "".join(f", {name} {value}" for name, value in changed.items())

    def tflop(self, dtype: torch.dtype | None) -> float:
        """10^12 operations of our step with the solver steps of the draws, which those of one and two steps tell."""
        graphs, counted, draws = vars(self.denoisers[0]).pop("forward", None), [], self.draws
        for steps in (1, 2):
            self.draws = self.draw(steps)
            with FlopCounterMode(display=False) as counter, _uncompiled(self.config.compile_frozen):
                self.ours(dtype)
            counted.append(counter.get_total_flops() / 1e12)
        self.draws = draws
        if graphs is not None:
            self.denoisers[0].forward = graphs
        return counted[0] + (self.solver_steps - 1) * (counted[1] - counted[0])

    def official(self, dtype: torch.dtype | None = None) -> Values:
        """A step in the official way; only its student knows autocast to `dtype`."""
        self.plain.student_dtype = dtype
        found = vars(self.plain(self.latents, self.prompts, self.draws))
        return {name: value.item() for name, value in found.items()}

    def ours(
        self, dtype: torch.dtype | None = None, solver: str = "heun", states: torch.Tensor | None = None
    ) -> Values:
        """A step as training does it, though its captions are encoded in it (once); under autocast to `dtype`.

        With `states`, those of `trajectories`, nothing is solved in the step.
        """
        step = Distillation(*self.denoisers, dataclasses.replace(self.config, solver=solver))
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            losses = step(self.latents, *self.encode(), self.draws, states)
        losses.total.backward()
        parts = {"consistency": losses.consistency, "denoising": losses.denoising, "balance": losses.balance}
        return {name: value.mean().item() for name, value in parts.items()}

    def trajectories(self, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The clips' trajectories over the whole grid, by Heun's solver."""
        start = self.latents + self.schedule.sigma_max * self.draws.noise
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            return Distillation(*self.denoisers, self.config).trajectory(start, *self.encode(), self.draws.omega)

    def encode(self) -> tuple[TextConditioning, TextConditioning]:
        """The prompts' rows and the empty prompt's, from one call for B + 1 prompts."""
        ids, mask = padded([*self.prompts, EMPTY], self.device)
        rows = TextConditioning(self.encoder.encode_ids(ids, mask.long()).float(), mask)
        count = len(self.prompts)
        return rows[:count], rows[[count] * count]

    def finish(self) -> dict[str, float]:
        """Norms of both students' gradients, which are forgotten."""
        norms = {}
        for name, unets in (("official", self.plain.unets), ("ours", self.unets)):
            gradients = [p.grad for p in unets["student"].parameters() if p.grad is not None]
            norms[name] = torch.nn.utils.get_total_norm(gradients).item()
            unets["student"].zero_grad(set_to_none=True)
        return norms

    def counts(
        self, run: Callable[[], Values], unets: Networks, encoders: Iterable[nn.Module]
    ) -> tuple[dict[str, Counts], Values]:
        """Calls of each network in one step, those of all text encoders together, and what the step gave."""
        counts = {name: Counts() for name in (*unets, "text encoder")}
        with contextlib.ExitStack() as hooks:
            for name, unet in unets.items():
                hooks.enter_context(counts[name].of(unet.conv_in))
            for encoder in encoders:
                hooks.enter_context(counts["text encoder"].of(encoder.encoder.embed_tokens))
            return counts, run()


def _uncompiled(needed: bool) -> contextlib.AbstractContextManager:
    return torch.compiler.set_stance("force_eager") if needed else contextlib.nullcontext()


def compare(bench: Bench) -> tuple[dict[str, dict[str, Counts]], float]:
    """Calls of both ways in float32, and the largest relative difference of losses and gradient norm.

    Raises UserError when that is above the tolerance: a time would mean nothing.
    """
    with computing_in("fp32", bench.device):
        official, wanted = bench.counts(bench.official, bench.plain.unets, bench.plain.encoders.values())
        ours, found = bench.counts(bench.ours, bench.unets, [bench.encoder.model])
    norms = bench.finish()
    wanted["gradient norm"], found["gradient norm"] = norms["official"], norms["ours"]
    worst = max(abs(found[name] - wanted[name]) / abs(wanted[name]) for name in wanted)
    if not worst <= TOLERANCE:
        raise UserError(f"the two ways do not agree to {TOLERANCE}: ours {found}, official {wanted}")
    return {"official": official, "ours": ours}, worst


@dataclass
class Timing:
    """Wall and CPU seconds of a step in each repetition, its peak memory in bytes, and what it gave."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: int | None = None
    values: Values = field(default_factory=dict)

    def add(self, run: Callable[[], Values], device: torch.device) -> None:
        """Run once more."""
        with PeakMemory(device) as peak:
            wall, cpu = time.perf_counter(), time.process_time()
            self.values = run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.process_time() - cpu)
        self.memory = peak.bytes if self.memory is None else max(self.memory, peak.bytes)

    def __str__(self) -> str:
        memory = "" if self.memory is None else f", {self.memory / 2**30:.2f} GiB above the networks"
        return f"{statistics.median(self.wall):.3f} s wall, {statistics.median(self.cpu):.3f} s of CPUs{memory}"


def timed(
    bench: Bench, ways: dict[str, Callable[[], Values]], repeats: dict[str, int], warm_up: Draws
) -> Iterator[dict[str, Timing]]:
    """All ways in turn, so that what disturbs one disturbs all: once with the draws `warm_up`, then each so often as
    `repeats` says. Yields all timings after every turn."""
    timings, draws = {name: Timing() for name in ways}, bench.draws
    for turn in range(max(repeats.values()) + 1):
        bench.draws = draws if turn else warm_up
        for name, run in ways.items():
            if turn <= repeats[name]:
                (timings[name] if turn else Timing()).add(run, bench.device)
            for unets in (bench.plain.unets, bench.unets):
                unets["student"].zero_grad(set_to_none=True)
        if turn:
            yield timings


@dataclass
class Report:
    """Everything measured; printed for people, and kept as JSON in `path`, if there is one, after every change."""

    path: Path | None
    values: dict
    results: dict[str, dict] = field(default_factory=dict)

    def add(self, timings: dict[str, Timing]) -> None:
        """What is known by now of some ways; the first one ever given is what ratios are of."""
        for name, timing in timings.items():
            wall = statistics.median(timing.wall)
            self.results[name] = {
                "seconds": wall, "all_seconds": timing.wall, "cpu_seconds": statistics.median(timing.cpu),
                "peak_gib_above_networks": None if timing.memory is None else timing.memory / 2**30,
                "values": timing.values,
            }  # fmt: skip
            base = next(iter(self.results.values()))
            self.results[name] |= {
                "ratio": base["seconds"] / wall, "cpu_ratio": base["cpu_seconds"] / self.results[name]["cpu_seconds"]
            }  # fmt: skip
        self.write()

    def write(self) -> None:
        """The whole file anew."""
        if self.path is not None:
            write_whole(self.path, json.dumps(self.values | {"results": self.results}, indent=1) + "\n")

    def show(self, names: Iterable[str]) -> None:
        """A line for each."""
        for name in names:
            found = self.results[name]
            memory = found["peak_gib_above_networks"]
            above = "" if memory is None else f", {memory:.2f} GiB above the networks"
            first = name == next(iter(self.results))
            ratio = "" if first else f"; {found['ratio']:.2f} times as fast ({found['cpu_ratio']:.2f} by CPU)"
            print(
                f"{name}: {found['seconds']:.3f} s wall, {found['cpu_seconds']:.3f} s of CPUs{above}{ratio}", flush=True
            )


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Print what was measured; returns the ratios of time by the way that is compared with the official one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="reduced")
    parser.add_argument("--batch_size", type=int, help="clips in the step")
    parser.add_argument("--solver_steps", type=int, help="steps from t to u")
    parser.add_argument(
        "--precision", choices=precision.CHOICES, default="auto", help="of ours; of the other's student"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--official_text", action="store_true", help="the official text encoder, whatever the size")
    parser.add_argument("--official_repeats", type=int, help="of the official way; none is --repeats")
    parser.add_argument("--compare_steps", type=int, help="solver steps while both ways are compared; none is as timed")
    parser.add_argument("--compile", action="store_true", help="time it with teacher and target compiled as well")
    parser.add_argument("--graph_teacher", action="store_true", help="time it with CUDA graphs of the teacher as well")
    parser.add_argument(
        "--teacher_weights", choices=WEIGHTS, default="float32", help="time it with a teacher in this format as well"
    )
    parser.add_argument("--channels_last", action="store_true", help="our networks in this memory format off GPUs too")
    parser.add_argument(
        "--solvers", nargs="*", choices=SOLVERS, default=["heun"], help="multistep is other mathematics"
    )
    parser.add_argument(
        "--trajectories", action="store_true", help="also time steps on trajectories solved before; other draws of z_t"
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--write", type=Path, metavar="JSON", help="file for everything measured")
    parser.add_argument("--cpu", action="store_true", help="even beside a GPU")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() and not args.cpu else "cpu")
    bench = Bench(args, device)
    chosen = precision.resolve(args.precision, device)

    million = {
        name: sum(p.numel() for p in module.parameters()) / 1e6
        for name, module in (("UNet", bench.unets["teacher"]), ("text encoder", bench.encoder.model))
    }
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(
        f"{args.size} size on {where}: UNet {million['UNet']:.1f} M, text encoder {million['text encoder']:.1f} M "
        f"parameters; latents {list(bench.latents.shape)}, {bench.solver_steps} solver steps, precision {chosen}",
        flush=True,
    )
    report = Report(args.write, {"machine": describe(device), "options": vars(args) | {"write": str(args.write)}})
    draws, few = bench.draws, bench.draw(args.compare_steps or bench.solver_steps)
    bench.draws = few
    counts, worst = compare(bench)
    bench.draws = draws
    for way, networks in counts.items():
        print(f"{way} calls: " + "; ".join(f"{name} {count}" for name, count in networks.items()))
    print(f"losses, balance weight and gradient norm agree to {worst:.1e} in float32", flush=True)
    report.values |= {"agree": worst, "solver_steps": bench.solver_steps, "precision": chosen}
    report.values["calls"] = {way: {n: str(c) for n, c in networks.items()} for way, networks in counts.items()}

    dtype = precision.HALF.get(chosen)
    ours = {f"ours, {solver}": functools.partial(bench.ours, dtype, solver) for solver in args.solvers}
    ways: dict[str, Callable[[], Values]] = {"official": functools.partial(bench.official, dtype), **ours}
    if args.trajectories:
        began = time.perf_counter()
        ways["ours, stored trajectories"] = functools.partial(bench.ours, dtype, states=bench.trajectories(dtype))
        spent = (time.perf_counter() - began) / len(bench.latents)
        print(f"solving a trajectory of {bench.config.start_scales} levels, once: {spent:.2f} s per clip", flush=True)
    repeats = dict.fromkeys(ways, args.repeats) | {"official": args.official_repeats or args.repeats}
    for timings in timed(bench, ways, repeats, few):
        report.add(timings)
    report.show(ways)
    if changes := bench.prepare():
        ways = {name + changes: run for name, run in ours.items()}
        for timings in timed(bench, ways, dict.fromkeys(ways, args.repeats), few):
            report.add(timings)
        report.show(ways)
    if peak := device_peak(device, chosen):
        tflop = bench.tflop(dtype)
        share = tflop * 1e12 / report.results["ours, heun" + changes]["seconds"] / peak
        report.values |= {"tflop": tflop, "share_of_peak": share}
        report.write()
        print(f"ours, heun{changes}: {tflop:.1f} TFLOP, {share:.1%} of the device's peak")
    return {name: found["ratio"] for name, found in report.results.items()}


if __name__ == "__main__":
    sys.exit(exit_code(main))
