"""Our evaluation against the official way of doing it, on the same clips with the same network: time, and same numbers.

    python -m benchmarks.evaluation --clips 200

The official way, with YAMNet in the place of VGGish and PaSST: batch 1, and every file decoded and resampled again for
every metric; KL and the inception score are written out here in NumPy. Its Frechet distance is ours, without interval:
`scipy.linalg.sqrtm` of 1024 dimensions would take longer than all the rest, which the official 128 do not. Decoding
(first channel, resampler) is the same on both sides, as it has to be for the same numbers. Ours is measured with
nothing cached and again with nothing changed, intervals and noise floor included. The clips are synthetic stereo that
needs resampling. Exit code 1 when a number differs by more than 1e-4 relative or a ratio falls below its goal.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from tqdm import tqdm

from soundctm.data.audio import decode_audio
from soundctm.data.resampling import resample
from soundctm.evaluation.extractors.base import Features
from soundctm.evaluation.extractors.registry import load_extractor
from soundctm.evaluation.folders.evaluate import evaluate
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.evaluation.statistics.frechet import frechet_distance

COLD, WARM = 3.0, 20.0  # goals: times as fast as the official way
TOLERANCE = 1e-4  # relative; batches round differently
SPLITS, SPLIT_SEED, EPSILON = 10, 2020, 1e-6


def write_clips(folder: Path, count: int, take: int, seconds: float, rate: int) -> None:
    """Decaying tones in noise, stereo, a different pitch each."""
    folder.mkdir()
    clock = np.arange(round(seconds * rate)) / rate
    for number in range(count):
        rng = np.random.default_rng([number, take])
        pitch = rng.uniform(100, 3000)
        wave = np.sin(2 * np.pi * pitch * clock * (1 + rng.uniform(0, 0.2) * clock)) * np.exp(
            -clock * rng.uniform(0, 3)
        )
        wave = 0.4 * wave + 0.02 * rng.uniform() * rng.standard_normal(len(clock))
        soundfile.write(folder / f"c{number:03d}.wav", np.stack([wave, -wave], 1), rate)


class OfficialWay:
    """Each method goes through a folder afresh, one file at a time."""

    def __init__(self) -> None:
        self.extractor = load_extractor("yamnet")

    def evaluate(self, reference: Path, generated: Path) -> dict[str, float]:
        return {
            "FAD-YAMNet": self.frechet(reference, generated),
            "KL-YAMNet": self.kl(reference, generated),
            "IS-YAMNet": self.inception(generated),
        }

    def frechet(self, reference: Path, generated: Path) -> float:
        a, b = ([f.embeddings for f in self._features(folder).values()] for folder in (reference, generated))
        return frechet_distance(a, b, level=None).value

    def kl(self, reference: Path, generated: Path) -> float:
        a, b = ({name: self._p(f) for name, f in self._features(folder).items()} for folder in (reference, generated))
        return float(np.mean([np.sum(a[name] * np.log(a[name] / (b[name] + EPSILON))) for name in a if name in b]))

    def inception(self, generated: Path) -> float:
        p = np.stack([self._p(f) for f in self._features(generated).values()])
        p = p[np.random.RandomState(SPLIT_SEED).permutation(len(p))]
        parts = [p[i * len(p) // SPLITS : (i + 1) * len(p) // SPLITS] for i in range(SPLITS)]
        scores = [np.exp(np.mean(np.sum(q * (np.log(q) - np.log(q.mean(0))), axis=1))) for q in parts]
        return float(np.mean(scores))

    def _features(self, folder: Path) -> dict[str, Features]:
        names = sorted(path.name for path in folder.iterdir())
        return {name: self.extractor([self._read(folder / name)])[0] for name in tqdm(names, "official", unit="clip")}

    def _read(self, path: Path) -> Tensor:
        samples, rate = decode_audio(path, str(path))
        return resample(samples[0], rate, self.extractor.sampling_rate)

    @staticmethod
    def _p(features: Features) -> np.ndarray:
        return features.logits.double().softmax(0).numpy()


def timed(function, *arguments):
    """Result, wall seconds, CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    return function(*arguments), time.perf_counter() - wall, time.process_time() - cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="clips per folder, at least 20")
    parser.add_argument("--seconds", type=float, default=2.56, help="of each clip")
    parser.add_argument("--rate", type=int, default=44_100, help="Hz of the files")
    parser.add_argument("--runs", type=int, default=3, help="of ours; the median counts")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        reference, generated = Path(work) / "real", Path(work) / "made"
        for take, folder in enumerate((reference, generated)):
            write_clips(folder, args.clips, take, args.seconds, args.rate)
        options = EvaluationOptions(str(generated), str(reference), device="cpu")

        def ours(cold: bool):
            if cold:
                for folder in (reference, generated):
                    shutil.rmtree(folder.with_name(f"{folder.name}.features"), ignore_errors=True)
            return timed(evaluate, options)

        evaluate(options)  # libraries are loaded and threads started before the clock runs
        official, *official_times = timed(lambda: OfficialWay().evaluate(reference, generated))
        cold = [ours(cold=True) for _ in range(args.runs)]
        warm = [ours(cold=False) for _ in range(args.runs)]

    failures = []
    for report, *_ in cold + warm:
        for name, value in official.items():
            if abs(report[name].value - value) > TOLERANCE * abs(value):
                failures.append(f"{name} is {report[name].value}, the official way gives {value}")
    print(f"{args.clips} + {args.clips} clips of {args.seconds} s at {args.rate} Hz, {torch.get_num_threads()} threads")
    print(", ".join(f"{name} {value:.4f}" for name, value in official.items()), "both ways")
    print("official way     {:7.2f} s ({:.2f} s of CPU)".format(*official_times))
    for name, runs, goal in (("ours, cold", cold, COLD), ("ours, no change", warm, WARM)):
        wall, cpu = (float(np.median(times)) for times in zip(*((wall, cpu) for _, wall, cpu in runs), strict=True))
        ratio = official_times[0] / wall
        print(f"{name:16s} {wall:7.2f} s ({cpu:.2f} s of CPU): {ratio:.1f} times as fast (goal {goal:g})")
        if ratio < goal:
            failures.append(f"{name}: {ratio:.1f} times as fast, not {goal:g}")
    print("\n".join(f"error: {text}" for text in failures), end="\n" if failures else "", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
