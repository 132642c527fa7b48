"""The frozen audio codec: waveform <-> log-mel <-> latents <-> log-mel <-> waveform. Usable without the rest."""

from audioldm.codec import AudioLDMCodec
from audioldm.errors import CodecError
from audioldm.mel import LogMel, MelConfig

__all__ = ["AudioLDMCodec", "CodecError", "LogMel", "MelConfig"]
