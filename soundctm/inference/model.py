"""The checkpoint of a run: where it is, what it contains, and the pipeline made of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from soundctm.defaults import OFFICIAL_DIT, Defaults
from soundctm.errors import UserError
from soundctm.inference.options import DEFAULT_CHECKPOINT, InferenceOptions
from soundctm.places import shipped

if TYPE_CHECKING:
    import torch

    from soundctm.checkpoints import Components
    from soundctm.pipeline import SoundCTMPipeline

OFFICIAL_SECONDS, OFFICIAL_RATE = 10.24, 16000  # of the official codec
EDGE = 1 << 16  # bytes


def checkpoint_files(options: InferenceOptions) -> tuple[str, list[Path]]:
    """The checkpoint's name for people and the files that decide what it is (none for a hub id).

    Raises UserError when `checkpoint` is neither a folder nor shaped like a hub id.
    """
    if options.official:
        files = options.official_files()
        if options.full_band:
            return str(options.ema_model or options.model or files["ema"]), list(files.values())
        config = options.ctm_unet_model_config
        given = options.model, options.ema_model, options.training_args, files["audioldm"], config
        return str(options.ema_model or options.model), [Path(path) for path in given if path]
    name = checkpoint_name(options)
    folder = Path(shipped(name))
    if folder.is_dir():
        # The model card may be edited without changing a sound.
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md" and not p.name.startswith("."))
        if not (folder / "model_index.json").is_file():
            raise UserError(f"{name} is no checkpoint folder: it has no model_index.json")
        return name, files
    if folder.exists() or name.count("/") != 1 or name.startswith((".", "~", "/")):
        raise UserError(f"no checkpoint folder at {name}")
    return name, []


def checkpoint_name(options: InferenceOptions) -> str:
    """The folder, shipped name or hub id; the small model when none is given."""
    return options.checkpoint or DEFAULT_CHECKPOINT


def checkpoint_defaults(options: InferenceOptions) -> Defaults:
    """How the checkpoint of the options is sampled by default. Of a hub id, the index and the training's options are
    fetched. Raises UserError."""
    if options.official:
        sampling = dataclasses.replace(Defaults(), seconds=OFFICIAL_SECONDS, sampling_rate=OFFICIAL_RATE)
        from soundctm.checkpoints.official.summary import read_summary

        summary = options.official_files().get("summary")
        sampling = OFFICIAL_DIT if options.full_band else sampling
        return sampling.trained_with(read_summary(summary) if summary else None)
    from soundctm.checkpoints.layout import read_defaults

    name = shipped(checkpoint_name(options))
    if not Path(name).is_dir():
        from soundctm.checkpoints.loading import local_folder

        return read_defaults(local_folder(name, ()))
    return read_defaults(Path(name))


def fingerprint(files: list[Path]) -> str:
    """Changes when a checkpoint is trained anew: a hash of the files' names, sizes and their first and last 64 KiB.

    Not of all bytes, because the official files have 10 GB. "" for a hub id.
    """
    if not files:
        return ""
    digest = hashlib.sha256()
    base = os.path.commonpath([path.parent for path in files])
    for path in files:
        try:
            size = path.stat().st_size
            digest.update(f"{os.path.relpath(path, base)}\n{size}\n".encode())
            with open(path, "rb") as file:
                digest.update(file.read(EDGE))
                file.seek(max(0, size - EDGE))
                digest.update(file.read(EDGE))
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:12]


def load_pipeline(options: InferenceOptions, device: str) -> SoundCTMPipeline:
    """The pipeline that the options ask for, on `device`. Raises UserError for checkpoints that cannot be used."""
    import torch

    from soundctm.pipeline import SoundCTMPipeline
    from soundctm.precision import number_format

    dtype = number_format(options.dtype, device)
    turns = options.offload and torch.device(device).type != "cpu"
    place = "cpu" if turns else device
    if not options.official:
        pipeline = SoundCTMPipeline.from_pretrained(
            checkpoint_name(options), options.weights, device=place, dtype=dtype
        )
    else:
        parts = _official_parts(options, torch.float32 if dtype == torch.int8 else dtype)
        pipeline = SoundCTMPipeline.from_parts(parts, options.weights, device=place)
        if dtype == torch.int8:
            pipeline.quantize()
    if turns:
        pipeline.enable_model_cpu_offload(device=device)
    return _readied(pipeline, options)


def _official_parts(options: InferenceOptions, dtype: torch.dtype) -> Components:
    from soundctm.checkpoints import load_official, load_official_dit

    files, name = options.official_files(), options.text_encoder_name
    if not options.full_band:
        config = {"unet_config": options.ctm_unet_model_config} if options.ctm_unet_model_config else {}
        parts = load_official(**files, text_encoder_name=name, dtype=dtype, **config)
        if options.weights == "ema":
            parts.student = None  # its file gave the text encoder
        return parts
    parts = load_official_dit(**files, text_encoder_name=name, dtype=dtype)
    found = "v1" if parts.text_encoder.form == "projected" else "v2"
    if options.version not in (None, found):
        raise UserError(f"version is {options.version}, but these weights are {found}: their text is {_SIZE[found]}")
    return parts


_SIZE = {"v1": "CLAP's own embedding", "v2": "the pooled output before CLAP's projection"}


def _readied(pipeline: SoundCTMPipeline, options: InferenceOptions) -> SoundCTMPipeline:
    pipeline.set_progress_bar_config(disable=True)  # a run has a bar over all clips
    if options.compile != "none":
        pipeline.compile(options.compile)
    return pipeline
