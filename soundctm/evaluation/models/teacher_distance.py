"""How closely students follow their teacher: from the same noise, how far apart do they arrive?

    python -m soundctm.evaluation.models.teacher_distance --students exp/distill/model --captions data/test_captions.csv

The teacher solves its guided equation in `--teacher_steps` Heun levels, each student jumps in `--steps` steps. Neither
real clips nor other networks are needed, and clips are compared one by one, so that small differences between students
show which generated sets of this size would hide. It says how faithful a student is, not how good its sounds are.
Means over the clips:

    latents    squared difference, in parts of the teacher's mean square: 0 is the same, 1 is as far as zeros
    features   `soundctm.losses.feature_distance` of the teacher's feature maps, the official consistency loss
    texture    `soundctm.losses.texture_distance`
    level      loudness against the teacher's clip, dB of the root mean square
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from tqdm import tqdm

from soundctm import losses
from soundctm.command import run_module
from soundctm.config import option
from soundctm.defaults import SEED
from soundctm.devices import usable_device
from soundctm.errors import UserError
from soundctm.files import write_whole
from soundctm.inference.prompts import read_prompts
from soundctm.pipeline import SoundCTMOutput, SoundCTMPipeline

FAINTEST = 1e-4  # root mean square, -80 dB: fainter clips count as this loud
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistanceOptions:
    """One run of `python -m soundctm.evaluation.models.teacher_distance`."""

    students: tuple[str, ...] = option((), "checkpoint folders")
    teacher: str | None = option(None, "checkpoint folder with the teacher; the first student's if not given")
    captions: str = option("data/test_captions.csv", "a CSV with a column caption, or .txt")
    clips: int | None = option(None, "take only so many of the captions")
    steps: tuple[int, ...] = option((1, 4), "of the students")
    teacher_steps: int = option(40, "Heun levels of the teacher")
    weights: str = option("ema", "of the students", choices=("ema", "student"))
    omega: float | None = option(None, "guidance of all", unset="that of the teacher's checkpoint")
    seed: int = option(SEED, "decides each clip's noise with its caption")
    batch_size: int = option(10, "clips at a time")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto takes the best there is")
    output: str | None = option(None, "where to write the numbers as JSON")

    def __post_init__(self) -> None:
        if not self.students or not self.steps:
            raise UserError(f"give at least one of --{'steps' if self.students else 'students'}")
        if self.clips is not None and self.clips < 1:
            raise UserError(f"clips is {self.clips}; it must be at least 1")


@dataclass(frozen=True)
class Distance:
    """Means over clips; the module's docstring says of what."""

    latents: float
    features: float
    texture: float
    level: float


@torch.no_grad()
def distance(
    teacher: SoundCTMPipeline, captions: Sequence[str], wanted: SoundCTMOutput, found: SoundCTMOutput, batch_size: int
) -> Distance:
    """Between clips `wanted`, the teacher's, and `found`, another network's from the same noises, captions in order."""
    level = torch.full((len(captions),), teacher.denoiser.schedule.sigma_min, device=teacher.device)
    features = []
    for start in range(0, len(captions), batch_size):
        rows = slice(start, start + batch_size)
        text = teacher.text_encoder.encode(captions[rows])
        maps = [teacher.denoiser.features(clips.latents[rows], level[rows], text, "full") for clips in (found, wanted)]
        features.append(losses.feature_distance(*maps))
    squared = losses.l2(found.latents, wanted.latents) / losses.mean_flat(wanted.latents**2)
    return Distance(
        squared.mean().item(),
        torch.cat(features).mean().item(),
        losses.texture_distance(found.latents, wanted.latents).mean().item(),
        float(np.mean(_loudness(found.audios) - _loudness(wanted.audios))),
    )


def distances(options: DistanceOptions) -> dict[str, dict[int, Distance]]:
    """Of every student at every number of steps. Raises UserError for a checkpoint that cannot be used."""
    prompts = read_prompts(options.captions)[: options.clips]
    captions = [prompt.caption for prompt in prompts]
    teacher = _load(options, options.teacher or options.students[0], "teacher")
    omega = teacher.defaults.omega if options.omega is None else options.omega
    same = {"omega": omega, "seed": options.seed, "batch_size": options.batch_size}
    log.info("the teacher makes %d clips", len(captions))
    wanted = teacher(captions, options.teacher_steps, **same)
    found: dict[str, dict[int, Distance]] = {}
    for folder in tqdm(options.students, desc="students", disable=len(options.students) == 1):
        student = _load(options, folder, options.weights)
        if student.codec.latent_shape() != teacher.codec.latent_shape():
            raise UserError(f"{folder} has latents of another shape than the teacher")
        found[folder] = {
            steps: distance(teacher, captions, wanted, student(captions, steps, **same), options.batch_size)
            for steps in options.steps
        }
    return found


def report(options: DistanceOptions) -> None:
    """Print the table and, if asked for, write the JSON."""
    found = distances(options)
    if options.output is not None:
        content = {name: {str(steps): asdict(d) for steps, d in by.items()} for name, by in found.items()}
        write_whole(options.output, json.dumps(content, indent=2) + "\n")
    for line in _lines(found):
        print(line)


def _lines(found: dict[str, dict[int, Distance]]) -> Iterator[str]:
    yield "| student | steps | latents | features | texture | level |"
    yield "|---|---|---|---|---|---|"
    for name, by_steps in found.items():
        for steps, d in by_steps.items():
            yield f"| {name} | {steps} | {d.latents:.3f} | {d.features:.3f} | {d.texture:.3f} | {d.level:+z.1f} dB |"


def _load(options: DistanceOptions, folder: str, weights: str) -> SoundCTMPipeline:
    pipe = SoundCTMPipeline.from_pretrained(folder, weights, usable_device(options.device))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _loudness(audios: np.ndarray) -> np.ndarray:
    """[N, samples] -> [N], dB of full scale."""
    rms = np.sqrt(np.mean(audios.astype(np.float64) ** 2, axis=1))
    return 20 * np.log10(np.maximum(rms, FAINTEST))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is that of `run_module`."""
    return run_module("soundctm.evaluation.models.teacher_distance", __doc__, DistanceOptions, report, arguments)


if __name__ == "__main__":
    sys.exit(main())
