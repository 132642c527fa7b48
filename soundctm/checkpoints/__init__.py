"""Checkpoints: our own folder format and the files of the official release, in both directions.

The names below are imported when they are first used: some modules of this package are wanted without the networks,
whose libraries take seconds to import.
"""

import importlib

_MODULES = {
    "NETWORKS": "components",
    "Components": "components",
    "Index": "layout",
    "codec_class": "loading",
    "load_checkpoint": "loading",
    "load_codec": "loading",
    "load_network": "loading",
    "load_text_encoder": "loading",
    "load_official": "official.unet",
    "load_official_dit": "official.dit",
    "save_checkpoint": "saving",
    "save_network": "saving",
}

__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
