"""Clips as a run would write them, for histories."""

import numpy as np

from soundctm.inference.generate import Made
from soundctm.inference.manifest import COLUMNS, Entry

RATE = 16000


def made(caption: str, seed: int = 1, **values: str) -> Made:
    """A clip of 0.1 s as a run would write it."""
    told = dict.fromkeys(COLUMNS, "") | {
        "caption": caption, "seed": str(seed), "sampler": "deterministic", "steps": "1", "omega": "3.5", "nu": "1",
        "weights": "ema", "checkpoint": "mini", "fingerprint": "f", "dtype": "float32", "sampling_rate": str(RATE),
        "target_length": "0.1", "seconds": "0.1",
    }  # fmt: skip
    audio = np.sin(np.arange(RATE // 10) * (0.1 + seed / 100)).astype(np.float32) * 0.5
    return Made(Entry(**(told | values)), audio, RATE, "16")
