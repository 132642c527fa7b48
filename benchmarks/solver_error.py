"""How far the solvers of the distillation end from the teacher's true trajectory, and what they cost.

    python -m benchmarks.solver_error --checkpoint ckpt/mini --corpus data/corpus --scales 12

Clips of the test split are noised to a random level t of the grid and solved over k levels, guided as in training. The
truth is Heun's method with every step cut into `--cuts`. The error is the root mean square of the difference over
that of the whole way from z_t to z_u.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from soundctm.command import exit_code
from soundctm.data.compose import ComposedCorpus, build_items
from soundctm.data.corpus import load_corpus
from soundctm.denoisers import guided
from soundctm.distillation import DistillationConfig, draw
from soundctm.pipeline import SoundCTMPipeline
from soundctm.schedule import append_dims
from soundctm.solver import SOLVERS, heun, last


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="ckpt/mini", help="folder with a teacher")
    parser.add_argument("--corpus", default="data/corpus")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--scales", type=int, default=40)
    parser.add_argument("--spans", type=int, nargs="+", default=[1, 2, 4, 8, 11], help="levels from t to u")
    parser.add_argument("--cuts", type=int, default=4)
    args = parser.parse_args()

    pipe = SoundCTMPipeline.from_pretrained(args.checkpoint, "teacher")
    codec, schedule, device = pipe.codec, pipe.denoiser.schedule, pipe.device
    samples = round(codec.default_seconds * codec.sampling_rate)
    corpus = ComposedCorpus(load_corpus(args.corpus, "test"), args.corpus, seed=0, num_samples=samples)
    waveforms, captions, _ = build_items(corpus, args.clips)
    latents = codec.encode_mel(codec.mel(waveforms).to(device), sample_posterior=False)
    text, empty = pipe.text_encoder.encode(captions), pipe.text_encoder.encode([""] * args.clips)
    print(f"{args.scales} levels; error relative to the way from z_t to z_u, calls, seconds", flush=True)
    for k in args.spans:
        config = DistillationConfig(start_scales=args.scales, num_heun_step=k, num_heun_step_random=False)
        draws = draw(latents, config, schedule, torch.Generator().manual_seed(k)).to(device)
        fine = torch.arange(args.cuts * k + 1, device=device)[:, None] / args.cuts
        levels = schedule.at((draws.t_index + fine) / (args.scales - 1))
        z_t = latents + append_dims(levels[0], 4) * draws.noise
        denoise = guided(pipe.denoiser, text, empty, draws.omega)
        truth = last(heun(denoise, z_t, levels))
        row = f"k = {k:2d}"
        for name, solver in SOLVERS.items():
            started = time.perf_counter()
            error = last(solver(denoise, z_t, levels[:: args.cuts])) - truth
            seconds = time.perf_counter() - started
            # per sample: the noise, and with it the way, differs a thousandfold between levels
            relative = (error.flatten(1).norm(dim=1) / (truth - z_t).flatten(1).norm(dim=1)).mean().item()
            calls = 2 * k if name == "heun" else k + 1
            row += f"   {name} {100 * relative:.3f} %, {calls}, {seconds:.1f}"
        print(row, flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
