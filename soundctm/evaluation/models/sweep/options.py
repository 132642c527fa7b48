"""What a sweep varies: the options of the command and the settings that follow from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from soundctm.config import option
from soundctm.defaults import SAMPLERS, SEED
from soundctm.errors import UserError
from soundctm.evaluation.folders.metrics import METRICS
from soundctm.evaluation.models.generation import Setting
from soundctm.inference.model import checkpoint_defaults
from soundctm.inference.options import DTYPES, InferenceOptions

T = TypeVar("T")


@dataclass(frozen=True)
class SweepOptions:
    """One run of `python -m soundctm.evaluation.models.sweep`."""

    # what is compared with what
    checkpoint: str | None = option(None, "checkpoint folder or hub id; the small model if not given")
    captions: str | None = option(None, "a CSV with a column caption (and file_name), or .txt, one a line")
    reference_dir: str | None = option(None, "folder of real clips; KL pairs them with generated ones by name")
    corpus: str | None = option(None, "built corpus; class accuracy is measured if it is given")
    prompts: str | None = option(None, "CSV file_name,caption,label for class accuracy, if not the captions")
    metrics: tuple[str, ...] = option(
        ("fad", "kl", "is"), "as of numerical_evaluation.py; the plot shows the first of them"
    )
    extractor: str = option("yamnet", "network whose features are compared")
    output_dir: str = option("outputs/sweep", "one folder of clips per setting, and the results")

    # what is varied
    steps: tuple[int, ...] = option((1, 2, 4, 8, 16), "network calls of the student")
    samplers: tuple[str, ...] = option(("deterministic", "gamma_multistep", "cm_multistep"), "of the student")
    omega: tuple[float, ...] = option((2.0, 3.5, 5.0), "guidance of the student's trajectory")
    nu: tuple[float, ...] = option((1.0, 1.5), "second guidance of the student")
    teacher_steps: tuple[int, ...] = option((10, 20, 40), 'Heun levels of the teacher; "" leaves it out')
    teacher_omega: tuple[float, ...] = option((2.0, 3.5, 5.0), "guidance scale of the teacher")
    full_grid: bool = option(False, "every combination, instead of one thing at a time")

    # what stays the same
    weights: str = option("ema", "of the student", choices=("ema", "student"))
    gamma: float | None = option(None, "noise of gamma_multistep, 0 to 1", unset="the checkpoint's")
    seed: int = option(SEED, "decides each clip with its file name, the same under all settings")
    batch_size: int = option(10, "clips at a time; changes the times, not the clips")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto takes the best there is")
    dtype: str = option("float32", "of networks and codec", choices=DTYPES)
    overwrite: bool = option(False, "replace clips that were made by another checkpoint or seed")

    def __post_init__(self) -> None:
        """Raises UserError for what is missing, contradictory or out of range, before anything is generated."""
        if not self.captions or not self.reference_dir:
            raise UserError(f"a sweep needs --{'captions' if not self.captions else 'reference_dir'}")
        for name in ("steps", "samplers", "omega", "nu", "metrics"):
            if not getattr(self, name):
                raise UserError(f"{name} is empty; give at least one value")
        for kind, given, known in (("sampler", self.samplers, SAMPLERS), ("metric", self.metrics, METRICS)):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise UserError(f"no {kind} {unknown[0]!r}; they are {', '.join(known)}")
        if self.teacher_steps and not self.teacher_omega:
            raise UserError("teacher_omega is empty; give at least one value, or no teacher_steps")
        if self.prompts and not self.corpus:
            raise UserError("--prompts is for class accuracy, which needs --corpus too")
        for setting in plan(self):  # steps, guidance and gamma are checked as those of one run
            setting.apply(self.inference(), folder="")

    def inference(self) -> InferenceOptions:
        """What all settings have in common, for `soundctm.evaluation.models.generation`."""
        names = ("checkpoint", "seed", "batch_size", "device", "dtype", "overwrite")
        return InferenceOptions(test_file=self.captions, **{name: getattr(self, name) for name in names})


def base(options: SweepOptions) -> Setting:
    """The student around which things are varied: the checkpoint's defaults, or the first value of a list that lacks
    the default. Raises UserError when there is no such checkpoint."""
    usual = checkpoint_defaults(options.inference())
    values = _default(options.samplers, usual.sampler), _default(options.steps, usual.steps)
    guidance = _default(options.omega, usual.omega), _default(options.nu, usual.nu)
    return Setting.student(options.weights, *values, *guidance, gamma=_gamma(options))


def teacher_base(options: SweepOptions) -> Setting | None:
    """The teacher with the fewest levels and the default guidance scale; None without `teacher_steps`."""
    if not options.teacher_steps:
        return None
    usual = checkpoint_defaults(options.inference())
    return Setting.teacher(min(options.teacher_steps), _default(options.teacher_omega, usual.omega))


def plan(options: SweepOptions) -> list[Setting]:
    """The settings of a sweep, students first, each once.

    Around `base` one thing is varied at a time: the steps, with every sampler; omega; nu. Around `teacher_base`, the
    levels and omega. `full_grid` takes the products instead.
    """
    student, teacher = base(options), teacher_base(options)
    if options.full_grid:
        students = itertools.product(options.samplers, options.steps, options.omega, options.nu)
        teachers = itertools.product(options.teacher_steps, options.teacher_omega)
    else:
        students = [
            *itertools.product(options.samplers, options.steps, [student.omega], [student.nu]),
            *itertools.product([student.sampler], [student.steps], options.omega, [student.nu]),
            *itertools.product([student.sampler], [student.steps], [student.omega], options.nu),
        ]
        teachers = [] if teacher is None else [
            *itertools.product(options.teacher_steps, [teacher.omega]),
            *itertools.product([teacher.steps], options.teacher_omega),
        ]  # fmt: skip
    settings = [Setting.student(options.weights, *values, gamma=_gamma(options)) for values in students]
    settings += [Setting.teacher(*values) for values in teachers]
    return list(dict.fromkeys(settings))


def _gamma(options: SweepOptions) -> float:
    return checkpoint_defaults(options.inference()).gamma if options.gamma is None else options.gamma


def _default(values: Sequence[T], usual: T | None) -> T:
    return usual if usual in values else values[0]
