"""The options of `numerical_evaluation.py` and what must hold between them.

`reference_dir` and `generated_dir` are those of the official scripts, `reference_path_acid` and `clap_model_path` those
of the 44.1 kHz one. A difference: features of a folder are never used again after one of its files changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from soundctm.config import option
from soundctm.errors import UserError
from soundctm.evaluation.folders.presets import PRESETS

METRICS = ("fad", "fd", "fad_inf", "kad", "mmd", "kl", "kl_reverse", "kl_sigmoid", "is", "clap", "class_accuracy")
DEFAULT_METRICS = ("fad", "kl", "is")
DEFAULT_EXTRACTORS = ("yamnet",)
WITHOUT_REFERENCE = ("is", "clap", "class_accuracy")


@dataclass(frozen=True)
class EvaluationOptions:
    """One run of `numerical_evaluation.py`."""

    # what is compared
    generated_dir: str | None = option(None, "folder of generated clips: wav, flac, ogg, mp3")
    reference_dir: str | None = option(None, "folder of real clips; KL pairs them with generated ones by name")
    captions: str | None = option(
        None, "CSV file_name,caption for the CLAP score, paired by name", aliases=("reference_path_acid",)
    )

    # how
    preset: str | None = option(
        None, "the scores of published tables instead of --metrics and --extractors", choices=tuple(PRESETS)
    )
    metrics: tuple[str, ...] = option(DEFAULT_METRICS, f"of {', '.join(METRICS)}", aliases=("metric",))
    extractors: tuple[str, ...] = option(
        DEFAULT_EXTRACTORS,
        "networks whose features are compared: yamnet, vggish, passt, passt_windows, panns, panns16, openl3, "
        "openl3_stereo, clap, clap630k",
    )
    weights: tuple[str, ...] = option((), "NAME=PATH, an extractor's weights: a file, a folder or a hub id; repeatable")
    clap_model_path: str | None = option(None, "the weights of clap630k, as --weights clap630k=PATH")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto takes the best there is")
    batch_size: int = option(16, "clips at a time")
    num_workers: int = option(2, "threads that read sound files")
    recalculate: bool = option(False, "compute all features anew, even those of unchanged files")
    seed: int = option(0, "of bootstrap intervals, FAD-infinity and the halves of the reference clips")

    # class accuracy
    corpus: str = option("data/corpus", "the built corpus, on which its classifier is fitted")
    prompts: str | None = option(None, "CSV file_name,caption,label of the generated clips; data/class_prompts.csv")
    quick: bool = option(False, "without the cross-validation on real clips")

    # what comes out
    output: str | None = option(None, "JSON lines; GENERATED_DIR.evaluation.jsonl if not given")
    page: str | None = option(None, "one HTML file with the numbers, spectrograms, classes, and clips to play")

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The metrics, those of the preset if there is one."""
        return self.metrics if self.preset is None else tuple(dict.fromkeys(name for name, _ in PRESETS[self.preset]))

    @property
    def report_path(self) -> Path:
        """Where the report goes."""
        if self.output is not None:
            return Path(self.output)
        folder = Path(self.generated_dir).resolve()
        return folder.with_name(f"{folder.name}.evaluation.jsonl")


def check_options(options: EvaluationOptions) -> None:
    """Raises UserError for what is missing, unknown, contradictory or outside its range."""
    if options.generated_dir is None:
        raise UserError("nothing to evaluate: give --generated_dir, a folder of sound files")
    if not Path(options.generated_dir).is_dir():
        raise UserError(f"no folder of generated clips at {options.generated_dir}")
    if options.reference_dir is not None and not Path(options.reference_dir).is_dir():
        raise UserError(f"no folder of reference clips at {options.reference_dir}")
    _check_apart(options)
    for name, values in (("metrics", options.metrics), ("extractors", options.extractors)):
        if not values or len(set(values)) < len(values):
            raise UserError(f"{name} is {' '.join(values)!r}; it must name at least one, and none twice")
    unknown = [name for name in options.metrics if name not in METRICS]
    if unknown:
        raise UserError(f"no metric {unknown[0]!r}; known are {', '.join(METRICS)}")
    if options.preset is not None and (options.metrics, options.extractors) != (DEFAULT_METRICS, DEFAULT_EXTRACTORS):
        raise UserError("--preset says which metrics and extractors; leave out --metrics and --extractors, or it")
    if options.clap_model_path is not None and any(item.startswith("clap630k=") for item in options.weights):
        raise UserError("--clap_model_path and --weights clap630k=PATH are the same; give one of them")
    comparing = [name for name in options.chosen if name not in WITHOUT_REFERENCE]
    if comparing and options.reference_dir is None:
        raise UserError(f"{', '.join(comparing)} compare with real clips: give --reference_dir")
    if "clap" in options.chosen and options.captions is None:
        raise UserError("the metric clap compares with captions: give --captions, a CSV file_name,caption")
    if options.captions is not None and "clap" not in options.chosen:
        raise UserError("--captions is for the metric clap, which --metrics or --preset does not name")
    if options.output is not None and Path(options.output).suffix == ".yaml":
        raise UserError(
            f"output is {options.output}; the report is JSON lines, and the options go into a .yaml beside it"
        )
    if options.batch_size < 1:
        raise UserError(f"batch_size is {options.batch_size}; it must be at least 1")
    if not 0 <= options.num_workers <= 64:
        raise UserError(f"num_workers is {options.num_workers}; it must lie between 0 and 64")


def _check_apart(options: EvaluationOptions) -> None:
    """Raises UserError when one of the folders lies in the other, whose clips it would then hold, too."""
    if options.reference_dir is None:
        return
    made, real = Path(options.generated_dir).resolve(), Path(options.reference_dir).resolve()
    if made != real and (made in real.parents or real in made.parents):
        raise UserError(
            f"of {options.reference_dir} and {options.generated_dir}, one lies in the other; subfolders belong to a "
            "folder, so give two that lie apart"
        )
