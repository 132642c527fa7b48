"""Clips as a piece of a page: a player over a spectrogram each, everything inside of it, for Jupyter."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import numpy as np

from soundctm.data.names import shown
from soundctm.evaluation.pages.pictures import thumbnail
from soundctm.evaluation.pages.sounds import NamedSound
from soundctm.files.sounds import sound_bytes

CARD = (
    '<figure style="display:inline-block;margin:0 1em 1em 0;width:300px;vertical-align:top">'
    '<img alt="spectrogram" style="display:block;width:300px;height:80px" src="data:image/png;base64,{picture}">'
    '<audio controls style="width:300px" src="data:audio/wav;base64,{sound}"></audio>'
    "<figcaption>{name}</figcaption></figure>"
)


def players(clips: Sequence[np.ndarray], sampling_rate: int, names: Sequence[str]) -> str:
    """HTML with a player, a spectrogram and a name for each of `clips`, float32 [samples] in [-1, 1]."""
    cards = []
    for clip, name in zip(clips, names, strict=True):
        picture = thumbnail(NamedSound(name, clip, sampling_rate))
        sound = sound_bytes(clip, sampling_rate)
        parts = {"picture": picture, "sound": sound}
        encoded = {key: base64.b64encode(content).decode("ascii") for key, content in parts.items()}
        cards.append(CARD.format(**encoded, name=html.escape(shown(name))))
    return f"<div>{''.join(cards)}</div>"
