"""Checkpoints: our own folder format and the files of the official release, in both directions.

The names below are imported when they are first used: some modules of this package are wanted without the networks,
whose libraries take seconds to import.
"""

from soundctm.modules import imported_on_use

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
__getattr__, __dir__ = imported_on_use(__name__, _MODULES)
