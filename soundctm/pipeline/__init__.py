"""The pipeline that makes sounds, a `DiffusionPipeline` of diffusers: its call, what that takes, what it gives back.

The names below are imported when they are first used: samplers use `callbacks` without the networks.
"""

import importlib

_MODULES = {"SoundCTMOutput": "output", "SoundCTMPipeline": "pipeline"}
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
