"""The same captions and seeds generated under several settings, one folder each, with the time a clip takes.

Clips are made by `soundctm.inference.run`: what is there is kept, an interrupted folder is completed, and a folder that
was made by another checkpoint is refused.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from soundctm.checkpoints.layout import Index
from soundctm.checkpoints.loading import local_folder
from soundctm.defaults import HEUN, Defaults
from soundctm.errors import UserError
from soundctm.evaluation.folders.clips import clip_name
from soundctm.files import write_whole
from soundctm.inference.clips import Clip, plan_clips
from soundctm.inference.manifest import Manifest
from soundctm.inference.model import checkpoint_defaults, checkpoint_name, load_pipeline
from soundctm.inference.options import InferenceOptions
from soundctm.inference.prompts import read_prompts
from soundctm.inference.run import run

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

MACHINE = "machine.txt"


@dataclasses.dataclass(frozen=True)
class Setting:
    """How clips are sampled. `steps` are the student's network calls or the teacher's Heun levels."""

    weights: str
    sampler: str  # "heun" for the teacher
    steps: int
    omega: float
    nu: float = 1.0  # the student's alone
    gamma: float | None = None  # of gamma_multistep alone

    @classmethod
    def student(
        cls, weights: str, sampler: str, steps: int, omega: float, nu: float, gamma: float | None = None
    ) -> Setting:
        """One setting per sound: in a single jump all samplers do the same, and only one of them has a gamma."""
        if sampler == "onestep" or steps == 1:
            sampler, steps = "deterministic", 1
        return cls(weights, sampler, steps, omega, nu, gamma if sampler == "gamma_multistep" else None)

    @classmethod
    def teacher(cls, levels: int, omega: float) -> Setting:
        return cls("teacher", HEUN, levels, omega)

    @property
    def is_teacher(self) -> bool:
        return self.weights == "teacher"

    @property
    def name(self) -> str:
        """A name for folders and tables: "ema_deterministic_4_omega3.5", "teacher_heun_40_omega3.5"."""
        name = f"{self.weights}_{self.sampler}_{self.steps}_omega{self.omega:g}"
        name += f"_gamma{self.gamma:g}" if self.sampler == "gamma_multistep" else ""
        return name + (f"_nu{self.nu:g}" if self.nu != 1.0 else "")

    @property
    def network_calls(self) -> int:
        """Per clip; a call with and one without text count as two."""
        if self.is_teacher:
            return 2 * (2 * self.steps - 1)
        return self.steps * (1 if self.nu == 1.0 else 2)

    def apply(self, options: InferenceOptions, folder: Path) -> InferenceOptions:
        """`options` with this setting and the output folder."""
        given = {} if self.is_teacher else {"sampler": self.sampler, "nu": self.nu, "sampling_gamma": self.gamma}
        return dataclasses.replace(
            options, weights=self.weights, num_steps=self.steps, omega=self.omega, output_dir=str(folder), **given
        )


@dataclasses.dataclass(frozen=True)
class Generated:
    """The clips of one setting: where they are, the median time that one took, and on what it was measured."""

    setting: Setting
    folder: Path
    seconds_per_clip: float
    machine: str


class ClipMaker:
    """Makes the clips of settings below one folder; a network is loaded once for settings that follow each other."""

    def __init__(self, options: InferenceOptions, folder: Path) -> None:
        """`options` say everything that settings leave open: captions, seed, checkpoint, device, batch size."""
        # Leaving silent clips out would flatter a model that makes them.
        self.options, self.folder = dataclasses.replace(options, keep_silent=True), folder
        self.clips: Sequence[Clip] = plan_clips(read_prompts(options.test_file), options.seed, options.num_samples)
        self._loaded: tuple[str, SoundCTMPipeline] | None = None

    @property
    def defaults(self) -> Defaults:
        """The checkpoint's. Raises UserError when it is no checkpoint."""
        return checkpoint_defaults(self.options)

    def has_weights(self, weights: str) -> bool:
        """Does the checkpoint hold this network? Raises UserError when it is no checkpoint."""
        return weights in Index.read(local_folder(checkpoint_name(self.options), ())).parts

    def make(self, setting: Setting) -> Generated:
        """Make the clips that are not there yet. Raises UserError as `run`, and for wavs of other captions."""
        folder = run(setting.apply(self.options, self.folder / setting.name), self._load)
        names = {f"{clip.name}.wav" for clip in self.clips}
        foreign = sorted({clip_name(path, folder) for path in folder.rglob("*.wav")} - names)
        if foreign:
            raise UserError(f"{folder} holds wavs of other captions ({foreign[0]}); give another --output_dir")
        entries = Manifest(folder).read()
        seconds = statistics.median(float(entries[name].generation_seconds) for name in names)
        note = folder / MACHINE
        machine = note.read_text(encoding="utf-8").strip() if note.is_file() else "unknown"
        return Generated(setting, folder, seconds, machine)

    def _load(self, options: InferenceOptions, device: str) -> SoundCTMPipeline:
        if self._loaded is None or self._loaded[0] != options.weights:
            self._loaded = None  # the old network's memory is free before the next one is loaded
            pipeline = load_pipeline(options, device)
            pipeline(["warm-up"] * options.batch_size, 2, seed=0)  # not part of the times
            self._loaded = options.weights, pipeline
        machine = f"{describe_device(device)}, batches of {options.batch_size}"
        write_whole(Path(options.output_dir) / MACHINE, machine + "\n")
        return self._loaded[1]


def describe_device(device: str) -> str:
    """The device for people: a GPU's name, or the number of CPU threads."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' if threads > 1 else ''}" if device == "cpu" else device
