"""Where a sound is heard: far away, in a large room, or on a recording without high frequencies; sound and words alike.

Far away means that the air and everything between has taken the high frequencies, and that reflections are as loud as
the sound. A room is noise that decays exponentially (Moorer 1979), a new one every time.
"""

from __future__ import annotations

import numpy as np
import torch
import torchaudio.functional as F

from soundctm.data.audio import SAMPLING_RATE
from soundctm.data.corpus import CorpusRow

FAR = 0.06  # share of sounds
ROOM = 0.06
FAR_WORDS = ("{} in the distance", "{} far away", "distant: {}")
ROOM_WORDS = ("{} in a large hall", "{} with an echo", "{} in a big empty room")
DULL_WORDS = ("an old recording of {}", "{} on an old recording", "{}, old recording")
OWN_WORDS = ("hall", "echo", "distance", "far", "recording")  # phrases with these say where they are heard themselves


def surround(sound: np.ndarray, phrase: str, row: CorpusRow, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """`sound` [n] as it is or elsewhere, and `phrase` with the words for that.

    Sources of less than the corpus's rate always say so: what lacks high frequencies must not teach that a plain
    caption means their absence.
    """
    if not any(word in phrase.split() for word in OWN_WORDS):
        draw = rng.random()
        if draw < FAR:
            waveform = F.lowpass_biquad(torch.from_numpy(sound), SAMPLING_RATE, float(rng.uniform(900, 2200)))
            sound = in_room(waveform.numpy(), float(rng.uniform(0.3, 0.8)), 1.0, rng)
            phrase = _said(FAR_WORDS, phrase, rng)
        elif draw < FAR + ROOM:
            sound = in_room(sound, float(rng.uniform(0.7, 1.6)), 0.6, rng)
            phrase = _said(ROOM_WORDS, phrase, rng)
    if row.source_rate < SAMPLING_RATE:
        phrase = _said(DULL_WORDS, phrase, rng)
    return sound, phrase


def in_room(sound: np.ndarray, seconds: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """`sound` [n] with reflections that fall by 60 dB in `seconds`; their energy is `share` of the sound's own."""
    n = round(seconds * SAMPLING_RATE)
    decay = np.exp(-np.log(1000.0) * np.arange(n) / n)
    tail = (rng.standard_normal(n) * decay).astype(np.float32)
    tail[: SAMPLING_RATE // 200] = 0.0  # the first reflection comes after 5 ms
    tail *= np.float32(np.sqrt(share) / max(np.linalg.norm(tail), 1e-9))
    tail[0] = 1.0
    return F.fftconvolve(torch.from_numpy(sound), torch.from_numpy(tail))[: len(sound)].numpy()


def _said(templates: tuple[str, ...], phrase: str, rng: np.random.Generator) -> str:
    return templates[rng.integers(len(templates))].format(phrase)
