"""Sound that is not finite is an error that says what to try, never a result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from soundctm.errors import UserError


def check_sound(audios: np.ndarray, captions: Sequence[str], dtype: str) -> None:
    """Raises UserError naming the caption of the first of `audios` [n, samples] that holds NaN or infinite samples.

    dtype: the number format of the network, which decides what may help. (Weights that are not finite are refused
    when a checkpoint is read.)
    """
    broken = ~np.isfinite(audios).reshape(len(audios), -1).all(1)
    if not broken.any():
        return
    if dtype == "float32":
        advice = "its weights are broken, or a setting (omega, nu, control) lies far outside what it was trained on"
    else:
        advice = f"{dtype} may not reach far enough for this model; try dtype float32"
    raise UserError(f"{captions[int(np.argmax(broken))]!r} gave sound that is not finite: {advice}")
