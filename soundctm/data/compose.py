"""Short training items made from the corpus: events, repeated events, windows of long sounds and pairs, with captions.

Item i is a function of (rows, table, seed, i) alone. Labels are drawn with a probability proportional to the square
root of their seconds of sound: a rule that knows nothing of names, nor of what models are judged by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from soundctm.data.audio import SAMPLING_RATE, fit_clip
from soundctm.data.captions import LabelSpec, draw_caption, hold_out, join_phrases, load_caption_table, wrap_caption
from soundctm.data.composing import placing
from soundctm.data.composing.surroundings import surround
from soundctm.data.corpus import ClipStore, CorpusRow, by_label, present_rows
from soundctm.data.mixing import mix_pair
from soundctm.data.resampling import resample

NUM_SAMPLES = 40_960  # 2.56 s at 16 kHz
PAIR_SEPARATOR = "|"  # between the two labels of a pair
BALANCE = 0.5  # exponent of a label's seconds
SHORTEST = 0.1  # seconds that a clip counts at least
UNHEARD = 0.35  # how often a clip is drawn in which YAMNet does not hear its label
SPEEDS = (0.9, 0.94, 0.97, 1.03, 1.06, 1.1)  # changes pitch and length together
CHANGED_SPEED = 0.5


class ComposedCorpus:
    """`corpus[i] -> (waveform float32 [num_samples] with peak 0.5, caption, label)`; any i >= 0 is an item.

    `pairs` is the share of items with two sounds; `speed_changes=False` keeps every clip as it was recorded, and all
    phrasings (evaluation); otherwise pitch, distance and rooms vary, and phrasings that are held out do not come.
    `highpass` in Hz takes rumble away from every clip (training), 0 leaves them as they were recorded (evaluation).
    Clips missing below `root` are left out. Raises UserError for no clips at all or a label without captions.
    """

    def __init__(
        self,
        rows: Sequence[CorpusRow],
        root: str | os.PathLike,
        seed: int = 0,
        *,
        num_samples: int = NUM_SAMPLES,
        pairs: float = 0.15,
        speed_changes: bool = True,
        highpass: float = 0.0,
        table: Mapping[str, LabelSpec] | None = None,
    ):
        table = table if table is not None else load_caption_table()
        self.table = hold_out(table) if speed_changes else dict(table)
        known = [row for row in rows if row.label in self.table]
        self.labels = by_label(present_rows(known, root))
        self.store = ClipStore(root, highpass)
        self.highpass = highpass
        self.seed = seed
        self.num_samples = num_samples
        self.pairs = pairs
        self.speed_changes = speed_changes
        weights = [sum(max(row.seconds, SHORTEST) for row in rows) ** BALANCE for rows in self.labels.values()]
        self.probabilities = np.array(weights) / np.sum(weights)

    def __getitem__(self, index: int) -> tuple[Tensor, str, str]:
        rng = np.random.default_rng([self.seed, index])
        if len(self.labels) > 1 and rng.random() < self.pairs:
            return self._pair(rng)
        return self._single(self._draw_label(rng), rng)

    def single(self, label: str, index: int) -> tuple[Tensor, str, str]:
        """Item `index` of one label alone: (waveform, caption, label)."""
        return self._single(label, np.random.default_rng([self.seed, 1, index, *label.encode()]))

    def from_row(self, row: CorpusRow, index: int) -> tuple[Tensor, str, str]:
        """Item `index` made from one given clip and, where repeated, its variants: (waveform, caption, label)."""
        rng = np.random.default_rng([self.seed, 2, index, *row.file_name.encode()])
        sound, phrase = self._sound(row, self.num_samples, rng)
        return fit_clip(torch.from_numpy(sound), self.num_samples), wrap_caption(phrase, rng), row.label

    def _single(self, label: str, rng: np.random.Generator) -> tuple[Tensor, str, str]:
        sound, phrase = self._sound(self._draw_row(label, rng), self.num_samples, rng)
        return fit_clip(torch.from_numpy(sound), self.num_samples), wrap_caption(phrase, rng), label

    def _pair(self, rng: np.random.Generator) -> tuple[Tensor, str, str]:
        first, second = rng.choice(list(self.labels), 2, replace=False, p=self.probabilities)
        sequence = bool(rng.random() < 0.4)
        length = self.num_samples
        cut = int(length * rng.uniform(0.4, 0.6)) if sequence else length
        a, phrase_a = self._sound(self._draw_row(first, rng), cut, rng)
        b, phrase_b = self._sound(self._draw_row(second, rng), length - cut if sequence else length, rng)
        a, b = fit_clip(torch.from_numpy(a), len(a)), fit_clip(torch.from_numpy(b), len(b))
        mixed = torch.cat([a, b]) if sequence else mix_pair(a, b, float(rng.uniform(0.4, 0.6)))
        caption = join_phrases(phrase_a, phrase_b, sequence, rng)
        return fit_clip(mixed, length), caption, f"{first}{PAIR_SEPARATOR}{second}"

    def _draw_label(self, rng: np.random.Generator) -> str:
        return list(self.labels)[rng.choice(len(self.labels), p=self.probabilities)]

    def _draw_row(self, label: str, rng: np.random.Generator) -> CorpusRow:
        rows, heard = self.labels[label], self.table[label].heard
        agrees = np.array([not heard or any(word in name for word in heard for name in row.heard) for row in rows])
        weights = np.where(agrees, 1.0, UNHEARD)
        return rows[rng.choice(len(rows), p=weights / weights.sum())]

    def _sound(self, row: CorpusRow, length: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
        """The clip on a canvas of `length` samples in its label's style, and a phrase that says what is heard."""
        spec = self.table[row.label]
        speed = float(rng.choice(SPEEDS)) if self.speed_changes and rng.random() < CHANGED_SPEED else 1.0
        clip = _at_speed(self.store[row], speed)
        short = len(clip) < 0.55 * length
        repeated, count = False, 0
        if len(clip) > length:
            sound = placing.window(clip, length, rng, from_start=0.1 if spec.style == "texture" else 0.6)
            repeated = spec.style == "repeat"  # a long clip of such a label already holds several events
        elif spec.style == "texture" and (short or rng.random() < 0.6):
            sound = placing.loop(clip, length, rng)
        elif short and rng.random() < {"repeat": 0.9, "event": 0.35, "texture": 0.0}[spec.style]:
            others = [_at_speed(self.store[variant], speed) for variant in self._variants(row, rng)]
            events = [clip, *(other for other in others if len(other) < 0.55 * length)]
            low, high = spec.period
            if spec.style == "event":  # keep such events apart
                low, high = (max(bound, 0.9 * len(clip) / SAMPLING_RATE) for bound in spec.period)
            sound, count = placing.place_repeated(events, length, (low, high), rng)
            repeated = count > 1
        else:
            sound = placing.place_once(clip, length, rng)
        phrase = draw_caption(spec, row, repeated, rng, count if self.speed_changes else 0)
        return surround(sound, phrase, row, rng) if self.speed_changes else (sound, phrase)

    def _variants(self, row: CorpusRow, rng: np.random.Generator) -> list[CorpusRow]:
        """Up to five other clips that can alternate with `row`: keys of one keyboard, steps on one ground."""
        if self.table[row.label].style != "repeat":
            return []
        rows = [
            other
            for other in self.labels[row.label]
            if other is not row
            and other.package == row.package
            and (row.label == "typing" or (other.group == row.group and other.caption == row.caption))
        ]
        chosen = rng.permutation(len(rows))[: int(rng.integers(0, 6))]
        return [rows[i] for i in chosen]


def build_items(
    corpus: ComposedCorpus, count: int, start: int = 0, progress: Callable[[range], Sequence[int]] = lambda items: items
) -> tuple[Tensor, list[str], list[str]]:
    """Items start .. start + count - 1 at once: waveforms float32 [count, num_samples], captions, labels.

    `progress` may wrap the range (tqdm).
    """
    waveforms = torch.empty(count, corpus.num_samples)
    captions, labels = [], []
    for i in progress(range(count)):
        waveforms[i], caption, label = corpus[start + i]
        captions.append(caption)
        labels.append(label)
    return waveforms, captions, labels


def _at_speed(clip: np.ndarray, speed: float) -> np.ndarray:
    if speed == 1.0:
        return clip
    return resample(torch.from_numpy(clip.copy()), round(SAMPLING_RATE * speed), SAMPLING_RATE).numpy()
