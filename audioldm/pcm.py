"""Float waveforms to 16-bit samples."""

from __future__ import annotations

import numpy as np
import torch


def to_int16(waveform: torch.Tensor | np.ndarray) -> np.ndarray:
    """int16 samples of a waveform in [-1, 1], same shape: 32768 times, truncated towards zero, limited to the range.

    Full scale becomes 32767; without the limit +1.0 would wrap around to -32768, a click. Raises ValueError for
    samples that are not finite.
    """
    values = waveform.detach().cpu().numpy() if isinstance(waveform, torch.Tensor) else np.asarray(waveform)
    if not np.isfinite(values).all():
        raise ValueError("the waveform holds values that are not finite")
    return np.clip(np.trunc(values.astype(np.float64) * 32768.0), -32768, 32767).astype(np.int16)
