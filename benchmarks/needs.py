"""What a distillation asks of a machine, from shapes alone: parameters, memory, arithmetic. Nothing is computed.

    python -m benchmarks.needs                                        # SoundCTM-DiT, its official batch per process
    python -m benchmarks.needs --network configs/mini/unet.json --latents 8 64 16 --batch_size 8 --solver_steps 5

The networks lie on torch's "meta" device, where tensors have shapes and no values. Memory is that of weights,
gradients, the optimiser's two moments and what backward passes keep (with and without recomputing the blocks, which
`gradient_checkpointing` does); libraries and buffers of the device come on top, a gigabyte or two. Arithmetic counts
matrix products and convolutions; a product and a sum are two operations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from soundctm.command import exit_code
from soundctm.files.reading import read_json
from soundctm.networks import Network, backbone
from soundctm.text import TextConditioning

GB = 1e9
BYTES = {"float32": 4, "bfloat16": 2}


@dataclass
class Kept:
    """What a forward pass keeps for its backward pass, bytes by storage."""

    storages: dict[int, int] = field(default_factory=dict)
    entering: dict[int, int] = field(default_factory=dict)  # what the repeated blocks are called with

    @property
    def total(self) -> int:
        return sum(self.storages.values())

    @contextmanager
    def counting(self, network: Network) -> Iterator[None]:
        """Count within, but for the network's own weights."""
        own = {weight.untyped_storage()._cdata for weight in network.parameters()}
        alive = []  # a storage that is freed gives its address to another

        def count(tensor: torch.Tensor, where: dict[int, int]) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                alive.append(storage)
                where[storage._cdata] = tensor.element_size() * tensor.numel()
            return tensor

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            return count(tensor, self.storages)

        def entered(_: torch.nn.Module, given: tuple, named: dict) -> None:
            for value in tree_leaves((given, named)):
                if isinstance(value, torch.Tensor):
                    count(value, self.entering)

        hooks = [block.register_forward_pre_hook(entered, with_kwargs=True) for block in network.repeated_blocks]
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield
        for hook in hooks:
            hook.remove()


def passes(network: Network, run: Callable[[], torch.Tensor]) -> tuple[Kept, float, float]:
    """(what `run` keeps, its operations, those of its backward pass)."""
    kept = Kept()
    with kept.counting(network), FlopCounterMode(display=False) as forward:
        found = run()
    with FlopCounterMode(display=False) as backward:
        found.sum().backward()
    return kept, forward.get_total_flops(), backward.get_total_flops()


def show(args: argparse.Namespace) -> None:
    """Build, count, print."""
    config = read_json(args.network)
    kinds, width = backbone(config, str(args.network)), args.text_width
    with torch.device("meta"):
        teacher = kinds.teacher.for_text(config, width).requires_grad_(False)
        student = kinds.student.for_text(config, width)
        rows, shape, amount = args.batch_size, args.latents, sum(p.numel() for p in student.parameters())
        text = TextConditioning(torch.empty(2 * rows, args.tokens, width), torch.ones(2 * rows, args.tokens).bool())
        one = TextConditioning(text.hidden[:rows], text.mask[:rows])
        z, t = torch.empty(2 * rows, *shape), torch.empty(2 * rows)
        for parameter in student.idle_parameters(args.tokens == 1):
            parameter.requires_grad_(False)
        heard = torch.empty(rows, *shape, requires_grad=True)
        learning, there, back = passes(student, lambda: student.predict(z, t, text, t, t))
        judging, judge_there, judge_back = passes(
            teacher, lambda: sum(part.sum() for part in teacher.features(heard, t[:rows], one, "full"))
        )
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            teacher.predict(z[:rows], t[:rows], one)
        call = counter.get_total_flops()

    frozen = sum(p.numel() for p in teacher.parameters())
    held = {
        "student, float32": 4 * amount,
        "its gradients": 4 * sum(p.numel() for p in student.parameters() if p.requires_grad),
        "two moments of RAdam": 8 * sum(p.numel() for p in student.parameters() if p.requires_grad),
        "target, float32": 4 * amount,
        f"teacher, {args.teacher_weights}": BYTES[args.teacher_weights] * frozen,
    }
    blocks = [len(net.repeated_blocks) for net in (student, teacher)]
    recomputed = sum(sum(k.entering.values()) + k.total // n for k, n in zip((learning, judging), blocks, strict=True))
    print(f"{args.network}: {amount / 1e6:,.1f} M parameters, latents {shape}, {rows} rows per process")
    for name, size in held.items():
        print(f"  {name:32}{said(size / GB):>8} GB")
    fixed, kept = sum(held.values()), learning.total + judging.total
    print(f"  {'kept for backward, as it is':32}{said(kept / GB):>8} GB")
    print(f"  {'kept, blocks recomputed':32}{said(recomputed / GB):>8} GB")
    print(f"  {'in all':32}{said((fixed + kept) / GB):>8} GB, or {said((fixed + recomputed) / GB)} GB with recomputing")
    # A Heun step asks the guided teacher twice, for both halves; the target is one call, its features a pass.
    solving = 4 * args.solver_steps * call
    rest = call + there + back + judge_there * 2 + judge_back
    whole = solving + rest + (there + judge_there if args.recompute else 0)
    print(f"a call of the network: {said(call / rows / 1e9)} GFLOP per row")
    print(
        f"a step of {args.solver_steps:g} solver steps: {said(whole / 1e12)} TFLOP, {solving / whole:.0%} of it solving"
    )
    for name, rate in (("100 TFLOP/s", 1e14), ("400 TFLOP/s", 4e14)):
        seconds = whole / rate
        print(f"  at {name} in fact: {said(seconds)} s per step, {said(30_000 * seconds / 3600)} h for 30,000 steps")


def said(value: float) -> str:
    """Three figures, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code is that of `soundctm.command.exit_code`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, default=Path("configs/dit/v2.json"), help="its configuration")
    parser.add_argument("--latents", type=int, nargs="+", default=[64, 432], help="their shape, of one clip")
    parser.add_argument("--text_width", type=int, default=768, help="numbers of a token of text")
    parser.add_argument("--tokens", type=int, default=1, help="of a caption")
    parser.add_argument("--batch_size", type=int, default=24, help="rows per process and step")
    parser.add_argument("--solver_steps", type=float, default=26.3, help="Heun steps from t to u, in the mean")
    parser.add_argument("--teacher_weights", choices=BYTES, default="float32")
    parser.add_argument("--recompute", action="store_true", help="count the work of recomputed blocks, too")
    args = parser.parse_args(arguments)
    return exit_code(lambda: show(args))


if __name__ == "__main__":
    sys.exit(main())
