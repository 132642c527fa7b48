"""Batches of latents with their captions, as a pure function of step and row.

Some rows may be mixtures of two others of the same global batch. Their sound is mixed from the files and encoded on the
device, in `on_device`, because each mixture occurs once. So are clips that are turned upside down, and all clips of a
data set that is `live`; else clips come from latents on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch

from soundctm.errors import UserError
from soundctm.text import TextConditioning
from soundctm.training.inputs.rows import Order, generator, generators, normal

T = TypeVar("T")
CAPTION, POSTERIOR, PAIR, ANOTHER, TURNED = 1, 3, 6, 7, 10  # streams of random numbers
ATTEMPTS = 100  # clips tried in the place of one that cannot be read


class Latents(Protocol):
    """A set of captioned clips as VAE moments (soundctm.data.latents, soundctm.data.clip_latents).

    One's own sounds have also `heard(index) -> (waveform, caption)` and the `form` of those waveforms. A set with
    `live` true (soundctm.data.shards) has nothing else, and its own `order(generator)` of an epoch.
    """

    scale_factor: float
    shape: Sequence[int]  # of one clip's latents, [C, T, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, str]:
        """Mean and log-variance float32 [C, T, ...], caption. Raises UserError when the clip cannot be read."""
        ...


class Texts(Protocol):
    """What encodes captions: a TextEncoder, or a CaptionStore in front of one."""

    def encode(self, captions: Sequence[str]) -> TextConditioning:
        """Hidden states of `captions`."""
        ...


@dataclass
class LatentRows:
    """Rows of a step on the CPU: clean latents [B, C, T, ...] and captions, "" where the caption was dropped."""

    latents: torch.Tensor
    captions: list[str]
    rows: range  # their numbers in the global batch
    heard: list[int] = field(default_factory=list)  # places in the batch whose latents are still to be encoded,
    waveforms: torch.Tensor | None = None  # from these sounds [len(heard), samples]
    noise: torch.Tensor | None = None  # with this noise of the posterior
    bad: list[str] = field(default_factory=list)  # why clips were replaced by others


@dataclass
class Batch:
    """Clean latents [B, C, T, ...], the text rows, the empty prompt's rows, and their numbers in the global batch.

    Rows whose trajectories are known bring their `states` [B, N, C, ...], and the `omega` [B] they were solved with.
    """

    latents: torch.Tensor
    text: TextConditioning
    empty: TextConditioning
    rows: range
    states: torch.Tensor | None = None
    omega: torch.Tensor | None = None


class LatentBatches:
    """Shuffles all items anew every epoch and cuts the order into global batches of `total` rows."""

    def __init__(
        self,
        data: Latents,
        total: int,
        text_dropout: float,
        seed: int,
        shuffle: bool = True,
        mix_share: float = 0.0,
        polarity: float = 0.0,
    ) -> None:
        """`text_dropout` is the share of captions replaced by the empty prompt, after mixing.

        `mix_share` of the rows, spread evenly over the global batch, are mixtures of two rows that are none, and the
        share `polarity` of all clips is turned upside down; for either, `data` must have sounds. Raises UserError where
        there are not two rows that are no mixtures.
        """
        self.mixed, self.polarity = mixed_rows(total, mix_share), polarity
        self.data, self.total, self.text_dropout, self.seed = data, total, text_dropout, seed
        self.shuffle, self.live = shuffle, getattr(data, "live", False)
        self.clips = [row for row in range(total) if row not in self.mixed]
        self._order = Order(len(data), seed, data.order if self.live else None)

    def batch(self, step: int, rows: range) -> LatentRows:
        """Sampled latents and captions; every row has its own random numbers."""
        made = LatentRows(torch.empty(0), [], rows)
        zero = torch.zeros(tuple(self.data.shape))
        moments, captions, waveforms, mixtures = [], [], [], Mixtures(self, step, made.bad)
        for place, row in enumerate(rows):
            if row in self.mixed or self.live or self.turned(step, row)[0]:
                waveform, caption = mixtures[row] if row in self.mixed else self.single(step, row, made.bad)
                waveforms.append(waveform)
                made.heard.append(place)
                moments.append((zero, zero))
            else:
                mean, logvar, caption = self._readable(self._item(step, row), self.data.__getitem__, made.bad)
                moments.append((mean, logvar))
            captions.append(caption)
        mean, logvar = (torch.stack(column) for column in zip(*moments, strict=True))
        noise = normal(self.data.shape, generators(self.seed, step, rows, POSTERIOR))
        made.latents = sample(mean, logvar, noise, self.data.scale_factor)
        made.captions = self._dropped(step, rows, captions)
        if made.heard:
            made.waveforms, made.noise = torch.stack(waveforms), noise[made.heard]
        return made

    def single(self, step: int, row: int, bad: list[str]) -> tuple[torch.Tensor, str]:
        """The sound of a row that is no mixture, and its caption."""
        waveform, caption = self._readable(self._item(step, row), self.data.heard, bad)
        return (-waveform if self.turned(step, row)[0] else waveform), caption

    def pair(self, step: int, row: int, bad: list[str]) -> tuple[torch.Tensor, str]:
        """Two clips of the global batch mixed to equal loudness, and their joint caption."""
        from soundctm.data.mixing import join_captions, mix_pair  # only sounds need the sound libraries

        pick = torch.randperm(len(self.clips), generator=generator(self.seed, step, row, PAIR))[:2].tolist()
        items = [self._item(step, self.clips[place]) for place in pick]
        (a, first), (b, second) = (self._readable(item, self.data.heard, bad) for item in items)
        a, b = (-sound if turned else sound for sound, turned in zip((a, b), self.turned(step, row), strict=True))
        return mix_pair(a, b, sampling_rate=self.data.form.sampling_rate), join_captions(first, second)

    def turned(self, step: int, row: int) -> tuple[bool, bool]:
        """Whether the clip of a row is turned upside down, or the first and the second of a mixture."""
        if not self.polarity:
            return False, False
        first, second = torch.rand(2, generator=generator(self.seed, step, row, TURNED)) < self.polarity
        return bool(first), bool(second)

    def _readable(self, item: int, read: Callable[[int], T], bad: list[str]) -> T:
        """`read(item)`, or of another item, found from the number of this one, where that cannot be read."""
        draws = generator(self.seed, item, stream=ANOTHER)
        for _ in range(ATTEMPTS):
            try:
                return read(item)
            except UserError as error:
                bad.append(str(error))
            item = int(torch.randint(len(self.data), (), generator=draws))
        raise UserError(f"{ATTEMPTS} clips could not be read, the last: {bad[-1]}")

    def _dropped(self, step: int, rows: range, captions: Sequence[str]) -> list[str]:
        """The captions of `rows`, some replaced by the empty prompt."""
        draws = [float(torch.rand((), generator=row)) for row in generators(self.seed, step, rows, CAPTION)]
        return ["" if draw < self.text_dropout else text for draw, text in zip(draws, captions, strict=True)]

    def _item(self, step: int, row: int) -> int:
        place = step * self.total + row
        return self._order[place] if self.shuffle else place % len(self.data)


class Mixtures:
    """`mixtures[row] -> (waveform, caption)` of the mixed rows of one step, each mixed once.

    A mixture has its peak at 0.5. Where sounds keep their level, so do the mixtures to one another: as officially it is
    the common peak of `TOGETHER` of them, the first of the global batch, the next, and so on.
    """

    def __init__(self, batches: LatentBatches, step: int, bad: list[str]) -> None:
        self.batches, self.step, self.bad = batches, step, bad
        self._pairs: dict[int, tuple[torch.Tensor, str]] = {}

    def __getitem__(self, row: int) -> tuple[torch.Tensor, str]:
        from soundctm.data.audio import PEAK, normalise_peak
        from soundctm.data.mixing import TOGETHER

        waveform, caption = self._pair(row)
        if self.batches.data.form.reading == "normalised":
            return normalise_peak(waveform), caption
        order = sorted(self.batches.mixed)
        first = order.index(row) // TOGETHER * TOGETHER
        largest = max(self._pair(other)[0].abs().max() for other in order[first : first + TOGETHER])
        return (waveform / largest * PEAK if largest else waveform), caption

    def _pair(self, row: int) -> tuple[torch.Tensor, str]:
        if row not in self._pairs:
            self._pairs[row] = self.batches.pair(self.step, row, self.bad)
        return self._pairs[row]


def mixed_rows(total: int, mix_share: float) -> set[int]:
    """The rows of a global batch of `total` that are mixtures.

    Raises UserError for what is no share, and where there are not two rows left that are none.
    """
    if mix_share and not 0 < mix_share < 1:
        raise UserError(f"mix_share is {mix_share}; it is a share from 0 (none) to below 1")
    mixed = {row for row in range(total) if int((row + 1) * mix_share) > int(row * mix_share)}
    if mixed and total - len(mixed) < 2:
        raise UserError(f"a global batch of {total} rows is too small for mixtures, which are made of two clips")
    return mixed


def sample(mean: torch.Tensor, logvar: torch.Tensor, noise: torch.Tensor, scale_factor: float) -> torch.Tensor:
    """Latents scale_factor * (mean + std * noise) of a posterior, as `codec.encode` gives them."""
    return scale_factor * (mean + torch.exp(0.5 * logvar) * noise)


def on_device(rows: LatentRows, texts: Texts, codec: Any, device: torch.device | str) -> Batch:
    """The batch on `device`: sounds encoded by `codec`, which is there too, captions by `texts`."""
    latents = rows.latents.to(device, non_blocking=True)
    if rows.heard:
        mean, logvar = codec.moments(rows.waveforms.to(device))
        latents[rows.heard] = sample(mean, logvar, rows.noise.to(device), codec.scale_factor)
    text, empty = texts.encode(rows.captions), texts.encode([""] * len(rows.captions))
    states, omega = getattr(rows, "states", None), getattr(rows, "omega", None)
    return Batch(
        latents, text.to(device), empty.to(device), rows.rows,
        None if states is None else states.to(device), None if omega is None else omega.to(device),
    )  # fmt: skip
