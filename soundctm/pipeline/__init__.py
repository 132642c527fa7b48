"""The pipeline that makes sounds, a `DiffusionPipeline` of diffusers: its call, what that takes, what it gives back.

The names below are imported when they are first used: samplers use `callbacks` without the networks.
"""

from soundctm.modules import imported_on_use

_MODULES = {"SoundCTMOutput": "output", "SoundCTMPipeline": "pipeline"}
__all__ = list(_MODULES)
__getattr__, __dir__ = imported_on_use(__name__, _MODULES)
