"""Where the files lie that come with the code: the small model, configurations, tables of captions.

In a checkout they are `ckpt/mini`, `configs` and `data` beside this package; a wheel has the same folders inside of it,
in `soundctm/shipped` (pyproject.toml). So one name finds them from anywhere.
"""

from __future__ import annotations

import os
from pathlib import Path

_HERE = Path(__file__).parent
INSTALLED = (_HERE / "shipped").is_dir()
ROOT = _HERE / "shipped" if INSTALLED else _HERE.parent
MODELS = {"mini": "ckpt/mini"}  # by name: what `from_pretrained("mini")` reads
REVISIONS = {  # of hub repositories that this code names: what they were when it was written
    "google/flan-t5-large": "0613663d0d48ea86ba8cb3d7a44f0f65dc596a2a",
    "laion/larger_clap_general": "ada0c23a36c4e8582805bb38fec3905903f18b41",
    "laion/clap-htsat-unfused": "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
}
FOLDERS = ("ckpt/mini", "configs", "data")


def shipped(path: str | os.PathLike) -> str:
    """`path`, or where the code has it: a model's name, or a relative path into one of FOLDERS that is not here.

    What lies in the working folder under that name comes first.
    """
    name = os.fspath(path)
    if os.path.isabs(name) or os.path.exists(name):
        return name
    inside = os.path.normpath(MODELS.get(name, name)).replace(os.sep, "/")
    if not any(inside == folder or inside.startswith(f"{folder}/") for folder in FOLDERS):
        return name
    found = ROOT / inside
    return str(found) if found.exists() else name
