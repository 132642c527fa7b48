"""The frozen audio codec: waveform <-> log-mel <-> latents <-> log-mel <-> waveform. Usable without the rest."""

from .modules import refuse_to_run

refuse_to_run()  # before torch is imported, which takes seconds

from .codec import AudioLDMCodec  # noqa: E402
from .errors import CodecError  # noqa: E402
from .mel import LogMel, MelConfig  # noqa: E402

__all__ = ["AudioLDMCodec", "CodecError", "LogMel", "MelConfig"]
