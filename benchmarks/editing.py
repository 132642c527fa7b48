"""What editing keeps and what length costs, on a checkpoint.

    python -m benchmarks.editing --corpus data/corpus                       # everything, about ten minutes on two cores
    python -m benchmarks.editing --parts memory rhythm                      # without a corpus

memory: how much more memory a clip of a minute takes than one of the trained length, each made in a process of its own.
rhythm: the autocorrelation of the energy of long clips at the windows' hop, and whether it stands out there.
seams: real clips of the corpus's test split, one region made anew: the spectral flux at the seams against the clip's
own 99th percentile, and whether the classifier of `soundctm.evaluation.models.class_accuracy` still says the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measuring import PeakMemory
from soundctm.command import exit_code
from soundctm.editing import Region
from soundctm.editing.regions import FADE
from soundctm.editing.seams import HOP, flux, usual_flux
from soundctm.editing.windows import OVERLAP
from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMPipeline

PARTS = ("memory", "rhythm", "seams")
TEXTURES = ("rain on a roof", "wind", "a fire crackling", "a crowd applauding", "a waterfall")
SEED = 5


def seam_flux(before: torch.Tensor, after: torch.Tensor, region: Region, rate: int) -> tuple[float, float]:
    """(greatest flux of `after` within 25 ms of an edge of the region, 99th percentile of the flux of `before`).

    Where `before` itself has more at the same place, it counts. A region's sides at the clip's ends have no seam.
    """
    changes, usual = flux(after, rate), usual_flux(before, rate)
    middles = (torch.arange(len(changes)) + 0.5) * HOP
    seconds, at_seam = len(after) / rate, torch.zeros(len(changes), dtype=torch.bool)
    for edge, inner in ((region.start, region.start > 0), (region.end, region.end < seconds)):
        if inner:
            at_seam |= (middles - edge).abs() <= FADE + HOP / 2
    own = flux(before, rate)[at_seam].clamp_min(usual)
    return float((changes[at_seam] / own).max()) * usual, usual


def rhythm(waveform: torch.Tensor, rate: int, hop_seconds: float) -> tuple[float, float]:
    """(autocorrelation of the energy at the windows' hop, how far it stands out from that at 3/4 and 5/4 of the hop).

    Energy is the mean square of 10 ms. Whatever varies slowly has a correlation at every short lag; a rhythm of windows
    would have a peak at the hop. Over a minute of sound both have a standard error of about 0.1.
    """
    block = round(HOP * rate)
    energy = waveform[: len(waveform) // block * block].reshape(-1, block).square().mean(1)
    energy = energy - energy.mean()
    spectrum = torch.fft.rfft(energy, 2 * len(energy))
    correlation = torch.fft.irfft(spectrum.abs().square())[: len(energy)]
    correlation = correlation / correlation[0]
    at = [float(correlation[round(part * hop_seconds / HOP)]) for part in (0.75, 1.0, 1.25)]
    return at[1], at[1] - (at[0] + at[2]) / 2


def measure_rhythm(pipe: SoundCTMPipeline, seconds: float, steps: int) -> dict[str, dict[str, float]]:
    """`rhythm` of textures, one long clip each."""
    hop = (1 - OVERLAP) * (pipe.defaults.seconds or pipe.codec.default_seconds)
    found = {}
    for caption in TEXTURES:
        made = pipe(caption, steps, seconds=seconds, seed=SEED)
        at_hop, peak = rhythm(torch.from_numpy(made.audios[0]), made.sampling_rate, hop)
        found[caption] = {"at the hop": at_hop, "above the lags around": peak}
    names = ("at the hop", "above the lags around")
    found["mean"] = {name: sum(row[name] for row in found.values()) / len(TEXTURES) for name in names}
    return found


def peak_bytes(checkpoint: str, seconds: float, steps: int, device: str) -> int:
    """What making a clip takes at most, above what the loaded model takes."""
    pipe = SoundCTMPipeline.from_pretrained(checkpoint, device=device)
    pipe("rain", 1, seed=SEED)  # what is made at first use is not part of it
    with PeakMemory(torch.device(device)) as peak:
        pipe("rain", steps, seconds=seconds, seed=SEED)
    if peak.bytes is None:
        raise UserError("this system does not tell how much memory was taken")
    return peak.bytes


def measure_memory(args: argparse.Namespace) -> dict[str, float]:
    """GiB of a clip of the trained length and of a long one, each in a fresh process."""
    found = {}
    for name, seconds in (("trained length", None), (f"{args.seconds:g} s", args.seconds)):
        command = [sys.executable, "-m", "benchmarks.editing", "--parts", "peak", "--checkpoint", args.checkpoint,
                   "--device", args.device, "--steps", str(args.steps), "--seconds", str(seconds or 0)]  # fmt: skip
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name] = int(done.stdout.split()[-1]) / 2**30
    return found


def measure_seams(args: argparse.Namespace, pipe: SoundCTMPipeline) -> dict[str, object]:
    """Seams and classes of real clips that training never saw, their middle third made anew."""
    from benchmarks.judging import Judges
    from soundctm.data.audio import load_clip
    from soundctm.data.corpus import load_corpus, present_rows
    from soundctm.evaluation.models.classes import class_of

    corpus, rate = Path(args.corpus), pipe.codec.sampling_rate
    rows = [r for r in present_rows(load_corpus(corpus), corpus) if r.split == "test" and r.seconds >= 1.2]
    by_label: dict[str, list] = {}
    for row in rows:
        by_label.setdefault(row.label, []).append(row)
    rows = [row for members in by_label.values() for row in members[: args.per_label]]
    judges, ratios, same, judged, kept = Judges(corpus, Path(args.output_dir) / "judges.safetensors"), [], 0, 0, True
    for row in rows:
        clip = load_clip(corpus / row.file_name, round(min(row.seconds, 6.0) * rate))
        third = len(clip) / rate / 3
        region = Region(third, 2 * third)
        made = torch.from_numpy(pipe.inpaint(row.caption, clip, [region], num_inference_steps=args.steps).audios[0])
        at_seam, own = seam_flux(clip, made, region, rate)
        ratios.append(at_seam / own)
        outside = torch.ones(len(clip), dtype=torch.bool)
        outside[int((region.start - FADE) * rate) - 1 : int((region.end + FADE) * rate) + 2] = False
        kept = kept and bool((made[outside] == clip[outside]).all())
        if class_of(row) is not None:
            guesses = [judges.classifiers["plain"].predict(judges.features(sound[None])) for sound in (clip, made)]
            same, judged = same + int(guesses[0] == guesses[1]), judged + 1
    over = sum(ratio > 1 for ratio in ratios)
    return {
        "clips": len(ratios), "outside bitwise the same": kept, "seams above the 99th percentile": over,
        "greatest ratio": max(ratios), "median ratio": sorted(ratios)[len(ratios) // 2],
        "judged": judged, "whole clip of the same class": same,
    }  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Measure and print, one part a line."""
    if args.parts == ["peak"]:
        print(peak_bytes(args.checkpoint, args.seconds or None, args.steps, args.device))
        return
    if "seams" in args.parts and args.corpus is None:
        raise UserError("seams are measured on real clips: give --corpus, or --parts memory rhythm")
    report: dict[str, object] = {}
    if "memory" in args.parts:
        report["memory, GiB"] = measure_memory(args)
    if set(args.parts) & {"rhythm", "seams"}:
        pipe = SoundCTMPipeline.from_pretrained(args.checkpoint, device=args.device)
    if "rhythm" in args.parts:
        report["rhythm"] = measure_rhythm(pipe, args.seconds, args.steps)
    if "seams" in args.parts:
        report["seams"] = measure_seams(args, pipe)
    print(json.dumps(report, indent=2))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 2 for wrong use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="ckpt/mini")
    parser.add_argument("--corpus", help="a built corpus folder")
    parser.add_argument("--output_dir", default="outputs/editing", help="keeps what the classifier is fitted on")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=[*PARTS, "peak"])
    parser.add_argument("--seconds", type=float, default=60.0, help="of a long clip")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--per_label", type=int, default=2, help="test clips of each label, at most")
    parser.add_argument("--device", default="cpu")
    return exit_code(lambda: run(parser.parse_args(arguments)))


if __name__ == "__main__":
    sys.exit(main())
