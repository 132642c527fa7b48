"""Batches from the device's own memory: latents and hidden states lie there, and a batch is a list of numbers.

Beside a fast GPU and a small network, gathering rows on the CPU would take longer than learning from them. What lies in
memory is the same as in `LatentBatches`; the random numbers are not, because there they belong to a row and come from
the CPU, and here to a micro-batch and come from the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from soundctm.distillation import Distillation, draw_omega
from soundctm.errors import UserError
from soundctm.text import TextConditioning
from soundctm.training.inputs.batches import Batch, Latents, Texts, sample
from soundctm.training.inputs.rows import Order, device_generator, generator

CAPTION, POSTERIOR, NOISE, OMEGA = 1, 3, 8, 9  # streams of random numbers
AT_ONCE = 256  # captions encoded together
POINT = -20.0  # posteriors whose log-variances are all below are their means


@dataclass(frozen=True)
class Numbers:
    """Rows of a step: numbers [B] of clips (or trajectories), and which captions are dropped, [B] bool; on the CPU."""

    items: torch.Tensor
    dropped: torch.Tensor
    rows: range
    step: int


class ResidentTexts:
    """The hidden states of a set of captions as one table on a device; state 0 is the empty prompt's."""

    def __init__(self, captions: Sequence[str], texts: Texts, device: torch.device) -> None:
        """Encode every different one of `captions` with `texts`."""
        different = list(dict.fromkeys(["", *captions]))
        number = {caption: i for i, caption in enumerate(different)}
        parts = [texts.encode(different[i : i + AT_ONCE]).to(device) for i in range(0, len(different), AT_ONCE)]
        self.table = TextConditioning.cat(parts)
        self.of_item = torch.tensor([number[caption] for caption in captions], device=device)

    def rows(self, items: torch.Tensor, dropped: torch.Tensor) -> TextConditioning:
        """Hidden states [B, L, D] of items [B], of the empty prompt where it is dropped [B]."""
        return self.table[torch.where(dropped, 0, self.of_item[items])]

    def empty(self, count: int) -> TextConditioning:
        """The empty prompt's, `count` times."""
        return TextConditioning(self.table.hidden[:1].expand(count, -1, -1), self.table.mask[:1].expand(count, -1))


class ResidentBatches:
    """As `LatentBatches`: shuffles all items anew every epoch and cuts the order into global batches."""

    def __init__(
        self, data: Latents, texts: Texts, total: int, text_dropout: float, seed: int, device: torch.device
    ) -> None:
        """Moves all of `data` to `device` in the precision it is kept in. Raises UserError for clips of shards."""
        if getattr(data, "live", False):
            raise UserError("clips of train_shards are encoded as they come; resident needs clips encoded before")
        self.data, self.total, self.text_dropout, self.seed, self.device = data, total, text_dropout, seed, device
        means, logvars = zip(*(data[i][:2] for i in range(len(data))), strict=True)
        self.mean = torch.stack(means).half().to(device)
        logvar = torch.stack(logvars)
        self.logvar = None if bool((logvar < POINT).all()) else logvar.half().to(device)
        self.texts = ResidentTexts(data.captions, texts, device)
        self._order = Order(len(data), seed)

    def __getstate__(self) -> dict:
        """For worker processes, which only number: without what lies on the device."""
        return vars(self) | {"mean": None, "logvar": None, "texts": None, "data": None}

    def batch(self, step: int, rows: range) -> Numbers:
        """The numbers of some rows of the global batch of `step`."""
        items = torch.tensor([self._order[step * self.total + row] for row in rows])
        draws = torch.rand(self.total, generator=generator(self.seed, step, stream=CAPTION))
        return Numbers(items, draws[rows.start : rows.stop] < self.text_dropout, rows, step)

    def gathered(self, numbers: Numbers) -> Batch:
        """The batch that `numbers` name: sampled latents and hidden states, on the device."""
        items, dropped = numbers.items.to(self.device), numbers.dropped.to(self.device)
        latents = self.mean[items].float() * self.data.scale_factor
        if self.logvar is not None:
            draws = device_generator(self.seed, numbers.step, numbers.rows, self.device, POSTERIOR)
            noise = torch.randn(latents.shape, generator=draws, device=self.device)
            latents = sample(self.mean[items].float(), self.logvar[items].float(), noise, self.data.scale_factor)
        return Batch(latents, self.texts.rows(items, dropped), self.texts.empty(len(items)), numbers.rows)


class ResidentTrajectories:
    """Trajectories of the guided teacher, solved now and kept on the device; batches of them, shuffled every epoch.

    What they begin at is a function of the seed, so a run that goes on solves the same ones again: on a GPU that takes
    less time than reading them from a disk. Every process solves and keeps them all.
    """

    def __init__(self, clips: ResidentBatches, step: Distillation, total: int, at_once: int) -> None:
        """One trajectory for each row of the global batch 0 of `clips`, `at_once` together; a step has `total` rows."""
        self.clips, self.total, self.seed, count = clips, total, clips.seed, clips.total
        shape, device = clips.data.shape, clips.device
        self.states = torch.empty(count, step.config.start_scales, *shape, device=device)
        self.latents = torch.empty(count, *shape, device=device)
        omegas, numbers = [], []
        for first in tqdm(range(0, count, at_once), "trajectories", unit="batch"):
            rows = range(first, min(first + at_once, count))
            numbers.append(clips.batch(0, rows))
            batch = clips.gathered(numbers[-1])
            omegas.append(draw_omega(step.config, len(rows), generator(self.seed, first, stream=OMEGA)))
            omega = None if omegas[-1] is None else omegas[-1].to(device)
            draws = device_generator(self.seed, 0, rows, device, NOISE)
            noise = torch.randn(batch.latents.shape, generator=draws, device=device)
            start = batch.latents + step.schedule.sigma_max * noise
            self.states[rows.start : rows.stop] = step.trajectory(start, batch.text, batch.empty, omega)
            self.latents[rows.start : rows.stop] = batch.latents
        self.omega = None if omegas[0] is None else torch.cat(omegas).to(device)
        self.items = torch.cat([part.items for part in numbers]).to(device)
        self.dropped = torch.cat([part.dropped for part in numbers]).to(device)
        self._order = Order(count, self.seed)

    @property
    def data(self) -> Latents:
        """The clips that they begin at."""
        return self.clips.data

    def __getstate__(self) -> dict:
        """For worker processes, which only number."""
        on_device = ("clips", "states", "latents", "omega", "items", "dropped")
        return vars(self) | dict.fromkeys(on_device)

    def batch(self, step: int, rows: range) -> Numbers:
        """The numbers of some rows of the global batch of `step`."""
        items = torch.tensor([self._order[step * self.total + row] for row in rows])
        return Numbers(items, torch.zeros(len(items), dtype=torch.bool), rows, step)

    def gathered(self, numbers: Numbers) -> Batch:
        """The trajectories that `numbers` name, with the text that they were solved with."""
        chosen = numbers.items.to(self.states.device)
        texts = self.clips.texts
        return Batch(
            self.latents[chosen], texts.rows(self.items[chosen], self.dropped[chosen]), texts.empty(len(chosen)),
            numbers.rows, self.states[chosen], None if self.omega is None else self.omega[chosen],
        )  # fmt: skip
