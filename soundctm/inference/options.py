"""The options of `ctm_inference.py` and what must hold between them.

Names and meanings are those of the official script where it has the option. Differences, all of them faults there:
the EMA weights are used by default, `num_samples` is obeyed, `sampling_rate` resamples, clips keep their whole length
unless `target_length` cuts them, and a clip does not depend on its place in the list or on its batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from soundctm.checkpoints.official.release import MODELS, UTILS, VARIANTS, autoencoder_file, release_files
from soundctm.config import option
from soundctm.defaults import MOST_STEPS, NO_OMEGA, SAMPLERS, SEED, Omega
from soundctm.errors import UserError
from soundctm.inference.steering import SteeringOptions, check_steering

HISTORIC = {"determinisitc": "deterministic"}  # as the official script spells it
WEIGHTS = ("ema", "student", "teacher")
OFFICIAL_CODEC = "ckpt/audioldm-s-full.ckpt"
DTYPES = ("float32", "bfloat16", "float16", "int8", "auto")
COMPILE = ("none", "graphs", "inductor")
DEFAULT_CHECKPOINT = "mini"
OF_MODEL = "the checkpoint's"
NOT_USED = {  # accepted so that official command lines run; they do nothing, as in the official script
    "test_references": "numerical_evaluation.py compares with real clips",
    **dict.fromkeys(("sigma_data", "sigma_max", "sigma_min", "dit_model_config"), "the checkpoint knows it"),
    "teacher_model": "the student alone makes sound",
    "clap_model_path": "the weights hold CLAP",
    "clap_text_branch_projection": "the weights say which vector they take",
    "text_audio_pair_dataset": "captions are text",
    **dict.fromkeys(("Experiment_name", "Project_name"), "nothing is logged"),
}
OF_DIT = ("stage1_path", "load_mean_std_state_path", "diffusion_model_type", "version")
WITHIN = "clap"  # what official command lines call the text encoder that is in the weights
RELEASED_UNET_CONFIG = "configs/diffusion_model_config.json"  # what official command lines name; ours is configs/full

MOST_SAMPLES = 100_000  # of a caption


@dataclass(frozen=True)
class InferenceOptions(SteeringOptions):
    """One run of `ctm_inference.py`."""

    # what to make
    test_file: str | None = option(None, "captions: a CSV with a column caption (and file_name), or .txt, one a line")
    prompt: tuple[str, ...] = option((), "a caption; may be given several times")
    manifest: str | None = option(
        None, "a manifest.csv whose clips are made again, with their seeds and the settings that are not given here"
    )
    only: tuple[str, ...] = option((), "a file of the manifest; may be given several times", unset="all")
    prefix: str | None = option(None, "text put before every caption")
    num_samples: int = option(1, "clips per caption", aliases=("num_waveforms_per_prompt",))
    refine: str | None = option(
        None,
        "a clip of an earlier run again with more steps (4 unless --num_steps), instead of captions",
        value="FOLDER/manifest.csv:NAME.wav",
    )
    seed: int = option(SEED, "with the file name or caption and the sample's number it decides a clip")

    # the model: one of our folders, or the official files
    checkpoint: str | None = option(
        None, f"checkpoint folder, hub id, or {DEFAULT_CHECKPOINT}, which is meant if no official file is given"
    )
    model: str | None = option(None, "official pytorch_model.bin (of the teacher with --weights teacher)")
    ema_model: str | None = option(None, "official ema_0.999_030000.pt")
    training_args: str | None = option(None, "official summary.jsonl")
    stage1_ckpt: str | None = option(
        None, "official codec file, read with the official files only", value="FILE", unset=OFFICIAL_CODEC
    )
    ctm_unet_model_config: str | None = option(
        None, "UNet configuration of the official files, if not the released one"
    )
    text_encoder_name: str | None = option(None, "text encoder of the official files, if not the one in summary.jsonl")
    variants: str | None = option(None, "of the official SoundCTM-DiT, in the next two folders", choices=VARIANTS)
    model_ckpt_path: str = option(MODELS, "folder of its weights, z_stats.pth and summary", value="FOLDER")
    util_ckpt_path: str = option(UTILS, "folder of its autoencoder, gaussiandac/weights.pth", value="FOLDER")
    stage1_path: str | None = option(None, "or this autoencoder, with --ema_model", value="PATH")
    load_mean_std_state_path: str | None = option(None, "and these statistics, z_stats.pth", value="FILE")
    diffusion_model_type: str | None = option(
        None, "of the official files, if not told by the others", choices=("unet", "dit")
    )
    version: str | None = option(None, "of SoundCTM-DiT, refused if the weights are of the other", choices=("v1", "v2"))
    weights: str = option("ema", "which network", choices=WEIGHTS)
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto takes the best there is")
    dtype: str = option(
        "float32",
        "of networks and codec; int8 is for CPUs; auto is bfloat16 where that is faster, by trying",
        choices=DTYPES,
    )
    offload: bool = option(
        False, "for GPUs of little memory: text encoder, network and codec take turns there and wait in main memory"
    )
    compile: str = option(
        "none", "for many clips on a GPU: graphs (seconds at each new shape), inductor (a minute)", choices=COMPILE
    )

    # how to sample
    sampler: str | None = option(None, "of the student", choices=SAMPLERS, spellings=HISTORIC, unset=OF_MODEL)
    num_steps: int | None = option(
        None, "network calls of the student; levels of the teacher's Heun grid, at least 2", unset=OF_MODEL
    )
    omega: Omega = option(
        None, "guidance along the trajectory; none leaves it out", words=(NO_OMEGA,), value="X|none", unset=OF_MODEL,
        aliases=("cfg",),
    )  # fmt: skip
    nu: float | None = option(
        None, "second guidance, between without and with text; 1 is off and halves the work", unset=OF_MODEL
    )
    sampling_gamma: float | None = option(
        None, "0 to 1, of gamma_multistep: 0 is deterministic, 1 is cm_multistep", unset=OF_MODEL
    )
    batch_size: int = option(1, "clips at a time, fewer where memory is short; changes the speed, not the clips")

    # what comes out
    output_dir: str = option("outputs", "folder of the wavs, of manifest.csv and of config.yaml")
    target_length: float | None = option(
        None, "seconds of each clip: below the model's own length from where the sound begins, beyond it made so long"
    )
    sampling_rate: float | None = option(None, "Hz of the wavs, resampled if it is not the model's own")
    save_spectrograms: bool = option(False, "a PNG with the mel spectrogram beside every wav")
    keep_silent: bool = option(False, "write clips in which nothing is heard, too: for evaluation, where they count")
    overwrite: bool = option(False, "replace clips that were made with other settings")

    # accepted, see NOT_USED
    test_references: str | None = option(None, "not used here: see numerical_evaluation.py")
    sigma_data: float | None = option(None, "not used: the checkpoint knows it")
    sigma_max: float | None = option(None, "not used: the checkpoint knows it")
    sigma_min: float | None = option(None, "not used: the checkpoint knows it")
    dit_model_config: str | None = option(None, "not used: the weights tell their sizes")
    teacher_model: str | None = option(None, "not used, as in the official script")
    clap_model_path: str | None = option(None, "not used: the weights hold CLAP")
    clap_text_branch_projection: bool | None = option(None, "not used: the weights say which vector they take")
    text_audio_pair_dataset: bool | None = option(None, "not used: captions are text")
    Experiment_name: str | None = option(None, "not used: nothing is logged")
    Project_name: str | None = option(None, "not used: nothing is logged")

    def __post_init__(self) -> None:
        if self.ctm_unet_model_config == RELEASED_UNET_CONFIG and not Path(RELEASED_UNET_CONFIG).exists():
            object.__setattr__(self, "ctm_unet_model_config", None)
        if self.text_encoder_name == WITHIN:
            object.__setattr__(self, "text_encoder_name", None)
        check_options(self)

    @property
    def official(self) -> bool:
        """Are official files given, instead of a checkpoint folder?"""
        return any((self.model, self.ema_model, self.training_args, self.variants))

    @property
    def full_band(self) -> bool:
        """Are the official files those of SoundCTM-DiT?"""
        told = self.variants, self.stage1_path, self.load_mean_std_state_path
        return self.official and (self.diffusion_model_type == "dit" or any(told))

    def official_files(self) -> dict[str, Path]:
        """The official files by argument of their reader. Raises UserError for one that is named nowhere."""
        role = self.weights
        given = {"ema": self.ema_model} if role == "ema" else {role: self.model}
        given["summary"] = self.training_args
        if not self.full_band:
            given["audioldm"] = self.stage1_ckpt or OFFICIAL_CODEC
            if role == "ema":
                given["student"] = self.model  # the text encoder is in its file
            return {name: Path(path) for name, path in given.items() if path}
        found = {}
        if self.variants:
            found = release_files(self.variants, self.model_ckpt_path, self.util_ckpt_path)
        given["z_stats"] = self.load_mean_std_state_path
        given["autoencoder"] = autoencoder_file(self.stage1_path) if self.stage1_path else None
        found |= {name: Path(path) for name, path in given.items() if path}
        if role != "ema":
            found.pop("ema", None)
        for name, flag in (("autoencoder", "stage1_path"), ("z_stats", "load_mean_std_state_path")):
            if name not in found:
                raise UserError(f"SoundCTM-DiT needs --{flag} beside its weights (or --variants)")
        return found

    def unused(self) -> list[str]:
        """A sentence for every option that was given and does nothing; those of sampling are `settle`'s."""
        remarks = [
            f"{name} has no effect here: {why}" for name, why in NOT_USED.items() if getattr(self, name) is not None
        ]
        of_unet, of_dit = ("stage1_ckpt", "ctm_unet_model_config"), OF_DIT
        if not self.official:
            names, why = (*of_unet, *of_dit, "text_encoder_name"), "the official files, and none is given"
        else:
            names, why = (of_unet, "the UNet's files") if self.full_band else (of_dit, "those of SoundCTM-DiT")
        remarks += [f"{name} has no effect: it belongs to {why}" for name in names if getattr(self, name)]
        if self.official and self.ema_model and self.weights != "ema":
            remarks.append(f"ema_model is not read: the weights asked for are {self.weights}")
        return remarks


def check_options(options: InferenceOptions) -> None:
    """Raises UserError for a value outside its range, for contradicting options and for absent model files."""
    if options.num_samples > MOST_SAMPLES:
        raise UserError(f"num_samples is {options.num_samples}; it must be at most {MOST_SAMPLES}")
    if options.num_steps is not None and options.num_steps > MOST_STEPS:
        raise UserError(f"num_steps is {options.num_steps}; it must be at most {MOST_STEPS}")
    for name in ("num_steps", "num_samples", "batch_size"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; it must be at least 1")
    if options.weights == "teacher" and options.num_steps is not None and options.num_steps < 2:
        raise UserError(f"num_steps is {options.num_steps}; --weights teacher needs at least 2, for example 40")
    if options.sampling_gamma is not None and not 0.0 <= options.sampling_gamma <= 1.0:
        raise UserError(f"sampling_gamma is {options.sampling_gamma}; it must lie between 0 and 1")
    for name in ("omega", "nu"):
        value = getattr(options, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{name} is {value}; it must be a finite number")
    if options.target_length is not None and not (0.0 < options.target_length < 3600.0):
        raise UserError(f"target_length is {options.target_length}; it must be a number of seconds above 0")
    rate = options.sampling_rate
    if rate is not None and not (math.isfinite(rate) and rate == int(rate) and 1000 <= rate <= 384_000):
        raise UserError(f"sampling_rate is {rate}; it must be a whole number of Hz from 1000 to 384000")
    if options.offload and options.compile != "none":
        raise UserError("--offload moves what --compile would record in its place; give one of them")
    if not options.prompt and options.test_file is None and options.manifest is None and options.refine is None:
        raise UserError("nothing to make: give --prompt or --test_file (or --refine, --manifest)")
    if options.only and options.manifest is None:
        raise UserError("--only chooses rows of a --manifest, and none is given")
    if options.refine is not None and (options.prompt or options.test_file is not None or options.manifest is not None):
        raise UserError("--refine takes the caption of its row; give it without --prompt, --test_file and --manifest")
    check_steering(options)
    _check_model_files(options)


def _check_model_files(options: InferenceOptions) -> None:
    if not options.official:
        return
    if options.checkpoint:
        raise UserError("give --checkpoint or the official files (--model, --ema_model, --training_args), not both")
    if options.full_band and options.diffusion_model_type == "unet":
        raise UserError("diffusion_model_type is unet, but files of SoundCTM-DiT are given")
    if options.weights != "ema" and not options.model:
        raise UserError(f"--weights {options.weights} needs --model")
    if options.weights == "ema" and not options.ema_model and not options.variants:
        raise UserError("the EMA weights need --ema_model; to use those of --model, give --weights student")
    files = options.official_files()
    if options.ctm_unet_model_config and not options.full_band:
        files["ctm_unet_model_config"] = Path(options.ctm_unet_model_config)
    for name, path in files.items():
        if not path.is_file():
            raise UserError(f"no file {path}, given as --{_FLAGS.get(name, name)}")


_FLAGS = {  # arguments of the readers -> flags
    "ema": "ema_model",
    **dict.fromkeys(("student", "teacher"), "model"),
    "summary": "training_args",
    "audioldm": "stage1_ckpt",
    "autoencoder": "stage1_path",
    "z_stats": "load_mean_std_state_path",
}
