"""The filter of `audioldm.rumble` for sounds that are read for training."""

from __future__ import annotations

from torch import Tensor

from soundctm.audioldm.errors import CodecError
from soundctm.audioldm.rumble import CUTOFF
from soundctm.audioldm.rumble import remove_rumble as filtered
from soundctm.errors import UserError


def remove_rumble(waveform: Tensor, sampling_rate: int, cutoff: float = CUTOFF) -> Tensor:
    """`waveform` float32 [..., n] at `sampling_rate` Hz without what lies below `cutoff` Hz (0: all stays).

    Raises UserError for a cutoff that is no frequency.
    """
    try:
        return filtered(waveform, sampling_rate, cutoff)
    except CodecError as error:
        raise UserError(str(error)) from error


__all__ = ["CUTOFF", "remove_rumble"]
