"""The model that the service runs, and those that it could run, by their names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundctm.checkpoints.layout import read_defaults
from soundctm.commands.info import models as found_models
from soundctm.defaults import SAMPLERS, Defaults
from soundctm.errors import UserError
from soundctm.files.reading import read_json
from soundctm.inference.model import checkpoint_files, fingerprint, load_pipeline
from soundctm.inference.options import InferenceOptions
from soundctm.inference.refining import STEPS as REFINE_STEPS
from soundctm.inference.steering import MEASURES, METHODS

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline
    from soundctm.service.settings import Settings

EDITS = ("vary", "inpaint", "extend", "loop", "bands", "blend")


@dataclass(frozen=True)
class Model:
    """A pipeline, and what it is called."""

    pipe: SoundCTMPipeline
    name: str
    fingerprint: str = ""


def load_model(settings: Settings, name: str | None = None) -> Model:
    """The checkpoint called `name` (default: that of the settings), warm. Raises UserError."""
    from soundctm.devices import usable_device

    options = InferenceOptions(
        prompt=("",), checkpoint=name or settings.checkpoint, weights=settings.weights, device=settings.device,
        dtype=settings.dtype, compile=settings.compile,
    )  # fmt: skip
    shown, files = checkpoint_files(options)
    pipe = load_pipeline(options, usable_device(settings.device))
    pipe("a sound", num_inference_steps=1, seed=0)  # what comes first is slow
    return Model(pipe, shown, fingerprint(files))


def names() -> dict[str, Path]:
    """The models that are here: folder by name."""
    return dict(found_models())


def described(model: Model | None, settings: Settings) -> list[dict[str, Any]]:
    """What /v1/models says: the current model first, and where they can be switched, the others that are here."""
    found = [] if model is None else [_of_pipeline(model, settings)]
    if settings.switch_models:
        for name, folder in names().items():
            if model is None or name != model.name:
                try:
                    found.append(_of_folder(name, folder, settings))
                except UserError:  # a folder that is no usable checkpoint is none to choose
                    continue
    return found


def _of_pipeline(model: Model, settings: Settings) -> dict[str, Any]:
    pipe = model.pipe
    seconds = pipe.defaults.seconds or pipe.codec.default_seconds
    bands = getattr(pipe.codec, "mel", None) is not None
    return _described(
        model.name, type(pipe.network).__name__, pipe.defaults, seconds, pipe.codec.sampling_rate, bands, True, settings
    )


def _of_folder(name: str, folder: Path, settings: Settings) -> dict[str, Any]:
    defaults = read_defaults(folder)
    role = next(iter(sorted(folder.glob("*/config.json"))), None)
    network = ""
    for part in (settings.weights, "student", "ema"):
        if (folder / part / "config.json").is_file():
            role = folder / part / "config.json"
            network = str(read_json(role).get("_class_name", ""))
            break
    return _described(name, network, defaults, defaults.seconds, defaults.sampling_rate, True, False, settings)


def _described(
    name: str, network: str, defaults: Defaults, seconds: float | None, rate: int | None, bands: bool, loaded: bool,
    settings: Settings,
) -> dict[str, Any]:  # fmt: skip
    return {
        "name": name,
        "network": network,
        "sampling_rate": rate,
        "seconds": {"trained": seconds, "min": 0.1, "max": settings.max_seconds},
        "defaults": {
            "steps": defaults.steps, "omega": defaults.omega, "nu": defaults.nu, "gamma": defaults.gamma,
            "sampler": defaults.sampler, "refine_steps": REFINE_STEPS,
        },
        "omega_range": list(defaults.omega_range) if defaults.omega_range else None,
        "samplers": list(SAMPLERS),
        "steps": {"max": settings.max_steps},
        "variants": {"max": settings.max_variants},
        "caption": {"max": settings.max_caption},
        "edits": [edit for edit in EDITS if bands or edit != "bands"],
        "control": list(MEASURES),
        "control_methods": list(METHODS),
        "loaded": loaded,
    }  # fmt: skip
