"""Our own checkpoint: one folder, one subfolder per part.

    model_index.json        format, parts, noise schedule, text encoder's name, and under "sampling" how the model is
                            sampled when nothing else is asked for (soundctm.defaults); older folders lack this
    ema/ student/ teacher/  config.json + diffusion_pytorch_model.safetensors, as diffusers writes them
    codec/                  see audioldm.codec and soundctm.codecs; its config.json holds the clip length
    text_encoder/           only where its weights travel with the checkpoint, in transformers' layout
    training_config.yaml    what the run was trained with
    README.md               model card

Weights may be float16 on disk; in memory they are float32 unless another dtype is asked for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundctm.defaults import Defaults
from soundctm.errors import UserError
from soundctm.files.reading import read_json, read_yaml

if TYPE_CHECKING:
    from soundctm.schedule import SigmaSchedule  # needs torch, which who only asks for the defaults can do without

FORMAT, VERSION = "soundctm", 1
INDEX, CONFIG, WEIGHTS = "model_index.json", "config.json", "diffusion_pytorch_model.safetensors"
CODEC, TEXT_ENCODER = "codec", "text_encoder"
TRAINING_CONFIG, CARD = "training_config.yaml", "README.md"


@dataclasses.dataclass(frozen=True)
class Index:
    """What `model_index.json` says: the subfolders that are there, the noise schedule, the text encoder's name, the
    defaults of sampling."""

    parts: tuple[str, ...]
    schedule: SigmaSchedule
    text_encoder: str | None
    sampling: Defaults = Defaults()

    def write(self, folder: Path) -> None:
        values = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        values["sampling"] = self.sampling.to_json()
        (folder / INDEX).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> Index:
        """Raises UserError when the file is absent, of another format, of a later version, or lacks something."""
        if not (folder / INDEX).is_file():
            raise UserError(f"{folder} is no checkpoint folder: it has no {INDEX}")
        from soundctm.schedule import SigmaSchedule

        values = read_json(folder / INDEX)
        if values.get("format") != FORMAT or not isinstance(values.get("version"), int):
            raise UserError(f"{folder / INDEX} does not describe a {FORMAT} checkpoint")
        if values["version"] > VERSION:
            raise UserError(f"{folder} has format version {values['version']}; this code reads up to {VERSION}")
        parts, name = values.get("parts"), values.get("text_encoder")
        if isinstance(name, str) and (len(name) > 4096 or not name.isprintable()):
            raise UserError(f"{folder / INDEX}: `text_encoder` is no name of one")
        if not _strings(parts) or not isinstance(name, str | None):
            raise UserError(f"{folder / INDEX}: `parts` must list subfolders, `text_encoder` must be a name or null")
        try:
            schedule = SigmaSchedule(**{key: float(value) for key, value in values["schedule"].items()})
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise UserError(f"{folder / INDEX} has no usable `schedule`: {error or 'it is absent'}") from error
        return Index(tuple(parts), schedule, name, Defaults.of_index(values.get("sampling"), folder / INDEX))


def read_defaults(folder: Path) -> Defaults:
    """How the checkpoint in `folder` is sampled when nothing else is asked for. Raises UserError. Needs no torch.

    What an older index does not say is taken from the codec's configuration and from the training's options.
    """
    sampling = Defaults.of_index(read_json(folder / INDEX).get("sampling"), folder / INDEX)
    config = folder / CODEC / CONFIG
    if sampling.seconds is None and config.is_file():
        codec = read_json(config)
        mel = codec.get("mel") if isinstance(codec.get("mel"), dict) else {}
        rate = codec.get("sampling_rate", mel.get("sampling_rate"))
        found = {"seconds": codec.get("default_seconds"), "sampling_rate": rate}
        sampling = Defaults.of_index({**sampling.to_json(), **found}, config)
    return sampling.trained_with(read_training_config(folder))


def read_training_config(folder: Path) -> dict[str, Any] | None:
    """The options of the training behind the checkpoint in `folder`, if they are there. Raises UserError."""
    path = folder / TRAINING_CONFIG
    if not path.is_file():
        return None
    values = read_yaml(path, kind=None)
    return values if isinstance(values, dict) else None


def _strings(values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(isinstance(v, str) for v in values)
