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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5EncoderModel

from benchmarks.measuring import Counts, PeakMemory
from benchmarks.plain_step import EMPTY, Networks, PlainStep, Prompts, padded
from soundctm import precision
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.distillation import Distillation, DistillationConfig, Draws, draw, tune
from soundctm.errors import UserError
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
        self.config = DistillationConfig(
            num_heun_step=self.solver_steps, num_heun_step_random=False, compile_frozen=args.compile,
            channels_last=args.channels_last or None,
        )  # fmt: skip
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
        self.draws: Draws = draw(self.latents, self.config, self.schedule, generator).to(device)

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

    def counts(self, run: Callable[[], Values], unets: Networks, encoders: Iterable[nn.Module]) -> dict[str, Counts]:
        """Calls of each network in one step, those of all text encoders together. Counted without compiled graphs."""
        counts = {name: Counts() for name in (*unets, "text encoder")}
        with contextlib.ExitStack() as hooks:
            # a graph would be compiled anew for every value of a counter, and keep its hook
            hooks.enter_context(torch.compiler.set_stance("force_eager"))
            for name, unet in unets.items():
                hooks.enter_context(counts[name].of(unet.conv_in))
            for encoder in encoders:
                hooks.enter_context(counts["text encoder"].of(encoder.encoder.embed_tokens))
            run()
        return counts


def compare(bench: Bench) -> tuple[dict[str, dict[str, Counts]], float]:
    """Calls of both ways in float32, and the largest relative difference of losses and gradient norm.

    Raises UserError when that is above the tolerance: a time would mean nothing.
    """
    with computing_in("fp32", bench.device):
        official = bench.counts(bench.official, bench.plain.unets, bench.plain.encoders.values())
        ours = bench.counts(bench.ours, bench.unets, [bench.encoder.model])
        bench.finish()
        wanted, found = bench.official(), bench.ours()
    norms = bench.finish()
    wanted["gradient norm"], found["gradient norm"] = norms["official"], norms["ours"]
    worst = max(abs(found[name] - wanted[name]) / abs(wanted[name]) for name in wanted)
    if not worst <= TOLERANCE:
        raise UserError(f"the two ways do not agree to {TOLERANCE}: ours {found}, official {wanted}")
    return {"official": official, "ours": ours}, worst


@dataclass
class Timing:
    """Medians over repetitions of wall and CPU seconds of a step, and its peak memory in bytes."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: int | None = None

    def add(self, run: Callable[[], Values], device: torch.device) -> None:
        """Run once more."""
        with PeakMemory(device) as peak:
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            self.wall.append(time.perf_counter() - wall)
            self.cpu.append(time.process_time() - cpu)
        self.memory = peak.bytes if self.memory is None else max(self.memory, peak.bytes)

    def __str__(self) -> str:
        memory = "" if self.memory is None else f", {self.memory / 2**30:.2f} GiB above the networks"
        return f"{statistics.median(self.wall):.3f} s wall, {statistics.median(self.cpu):.3f} s of CPUs{memory}"


def timed(bench: Bench, ways: dict[str, Callable[[], Values]], repeats: int) -> dict[str, Timing]:
    """All ways in turn, once to warm up and then `repeats` times, so that what disturbs one disturbs all."""
    timings = {name: Timing() for name in ways}
    for repeat in range(repeats + 1):
        for name, run in ways.items():
            (timings[name] if repeat else Timing()).add(run, bench.device)
            for unets in (bench.plain.unets, bench.unets):
                unets["student"].zero_grad(set_to_none=True)
    return timings


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
    parser.add_argument("--compile", action="store_true", help="torch.compile our teacher and target")
    parser.add_argument("--channels_last", action="store_true", help="our networks in this memory format off GPUs too")
    parser.add_argument(
        "--solvers", nargs="*", choices=SOLVERS, default=["heun"], help="multistep is other mathematics"
    )
    parser.add_argument(
        "--trajectories", action="store_true", help="also time steps on trajectories solved before; other draws of z_t"
    )
    parser.add_argument("--threads", type=int, help="CPU threads")
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
    counts, worst = compare(bench)
    for way, networks in counts.items():
        print(f"{way} calls: " + "; ".join(f"{name} {count}" for name, count in networks.items()))
    print(f"losses, balance weight and gradient norm agree to {worst:.1e} in float32", flush=True)

    dtype = precision.HALF.get(chosen)
    ways: dict[str, Callable[[], Values]] = {"official": functools.partial(bench.official, dtype)}
    ways |= {f"ours, {solver}": functools.partial(bench.ours, dtype, solver) for solver in args.solvers}
    if args.trajectories:
        began = time.perf_counter()
        ways["ours, stored trajectories"] = functools.partial(bench.ours, dtype, states=bench.trajectories(dtype))
        spent = (time.perf_counter() - began) / len(bench.latents)
        print(f"solving a trajectory of {bench.config.start_scales} levels, once: {spent:.2f} s per clip", flush=True)
    timings = timed(bench, ways, args.repeats)
    ratios = {}
    for name, timing in timings.items():
        ratio = statistics.median(timings["official"].wall) / statistics.median(timing.wall)
        cpu = statistics.median(timings["official"].cpu) / statistics.median(timing.cpu)
        print(f"{name}: {timing}" + ("" if name == "official" else f"; {ratio:.2f} times as fast ({cpu:.2f} by CPU)"))
        ratios[name] = ratio
    if peak := device_peak(device, chosen):
        with FlopCounterMode(display=False) as counter:
            bench.ours(dtype)
        share = counter.get_total_flops() / statistics.median(timings["ours, heun"].wall) / peak
        print(f"ours, heun: {counter.get_total_flops() / 1e12:.1f} TFLOP, {share:.1%} of the device's peak")
    return ratios


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
