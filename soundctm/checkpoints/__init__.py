"""Checkpoints: our own folder format and the files of the official release, in both directions."""

from soundctm.checkpoints.components import NETWORKS, Components
from soundctm.checkpoints.layout import Index
from soundctm.checkpoints.loading import load_checkpoint, load_network
from soundctm.checkpoints.official import load_official
from soundctm.checkpoints.saving import save_checkpoint, save_network

__all__ = [
    "NETWORKS",
    "Components",
    "Index",
    "load_checkpoint",
    "load_network",
    "load_official",
    "save_checkpoint",
    "save_network",
]
