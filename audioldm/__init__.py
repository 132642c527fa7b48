"""The frozen audio codec: waveform <-> log-mel <-> latents <-> log-mel <-> waveform. Usable without the rest."""

from audioldm.modules import refuse_to_run

refuse_to_run()  # before torch is imported, which takes seconds

from audioldm.codec import AudioLDMCodec  # noqa: E402
from audioldm.errors import CodecError  # noqa: E402
from audioldm.mel import LogMel, MelConfig  # noqa: E402

__all__ = ["AudioLDMCodec", "CodecError", "LogMel", "MelConfig"]
