"""What the trainings of teacher and student share: latents, text, validation on held-out clips, and what they sound
like."""

from __future__ import annotations

import abc
import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from accelerate import Accelerator

from soundctm.checkpoints import Components
from soundctm.distributed import mean_over_processes
from soundctm.errors import UserError
from soundctm.networks import Network
from soundctm.precision import widest
from soundctm.training.inputs.batches import Batch, LatentBatches, LatentRows, Latents, mixed_rows, on_device
from soundctm.training.inputs.resident import Numbers, ResidentBatches
from soundctm.training.inputs.source import check_bad, check_spread, open_source
from soundctm.training.tasks.task import Task

logger = logging.getLogger(__name__)

HELD_OUT_SEED = 1


class DiffusionTask(Task):
    """A training on latents with text. The configuration is a SourceConfig and a RunConfig."""

    validation_batch: ClassVar[int] = 32  # held-out clips per call
    validation_rows: ClassVar[int | None] = None  # and in all; None: every one
    told = False  # whether it was said why there are no samples

    def __init__(self, config, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self.shares = self.share_out(config.per_device_train_batch_size)
        mixed_rows(self.shares.total, config.mix_share)  # refused here, and not after clips were encoded
        opened = open_source(config, accelerator)
        data, held_out = opened.data, opened.held_out
        self.codec, self.encoder = opened.codec, opened.encoder  # None where the training is from a bundle
        self.texts, self.text_dim, self.made_with = opened.texts, opened.text_dim, opened.identity
        self.one_token = opened.one_token
        self.source = self.batches_of(data, self.shares.total)
        if accelerator.is_main_process:
            check_spread(data, config.sigma_data)
        self.held_out = LatentBatches(held_out, 0, 0.0, HELD_OUT_SEED, shuffle=False) if held_out else None
        self.bad_clips = set(getattr(data, "reasons", {}).values())
        schedule = config.schedule
        scales = {name: getattr(schedule, name) for name in ("sigma_min", "sigma_max", "rho", "sigma_data")}
        self.identity = scales | self.made_with

    def freeze_idle(self, network: Network) -> None:
        """Take those weights out of the training that have no effect with this text; before an optimiser is made."""
        for parameter in network.idle_parameters(self.one_token):
            parameter.requires_grad_(False)

    def batches_of(self, data: Latents, total: int) -> LatentBatches | ResidentBatches:
        """Shuffled global batches of `total` rows of `data`."""
        config = self.config
        if config.resident:
            for name in ("mix_share", "polarity"):
                if getattr(config, name):
                    raise UserError(f"{name} is made of sounds as they come; with resident there are only latents")
            with self.accelerator.autocast():
                return ResidentBatches(data, self.texts, total, config.uncond_prob, config.seed, self.device)
        return LatentBatches(
            data, total, config.uncond_prob, config.seed, mix_share=config.mix_share, polarity=config.polarity
        )

    def with_text(self, rows: LatentRows | Numbers) -> Batch:
        """A batch of `source` on the device, with its captions encoded.

        Raises UserError when too many clips turned out to be unreadable.
        """
        if isinstance(rows, Numbers):
            return self.source.gathered(rows)
        if new := set(rows.bad) - self.bad_clips:
            self.bad_clips |= new
            check_bad(self.bad_clips, len(self.source.data), self.config.max_bad_clips)
        with self.accelerator.autocast():
            return on_device(rows, self.texts, self.codec, self.device)

    def measured(self) -> dict[str, float]:
        return {"bad_clips": len(self.bad_clips)} if self.bad_clips else {}

    @abc.abstractmethod
    def held_out_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Mean losses (0-dim) of held-out rows; all random numbers depend on the row and HELD_OUT_SEED alone."""

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses over all held-out items, shared out over the processes."""
        if self.held_out is None:
            return {}
        count = min(len(self.held_out.data), self.validation_rows or sys.maxsize)
        size, world = self.validation_batch, self.shares.processes
        blocks = math.ceil(count / size)
        sums: dict[str, torch.Tensor] = {}
        for k in range(math.ceil(blocks / world)):
            block = k * world + self.shares.rank
            real = block < blocks  # every process makes as many calls, as sharded networks need
            first = block * size if real else 0
            rows = range(first, min(first + size, count))
            with self.accelerator.autocast():
                losses = self.held_out_losses(self.with_text(self.held_out.batch(0, rows)))
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.to(widest(value.device)) * len(rows) * real
        means = mean_over_processes(torch.stack(list(sums.values()))) * (world / count)
        return dict(zip(sums, means.tolist(), strict=True))

    def prompts(self) -> list[str]:
        """Captions of the clips that are made at validations: different ones, of held-out clips where there are any."""
        data = (self.held_out or self.source).data
        if getattr(data, "live", False):
            return [data.heard(number)[1] for number in range(min(len(data), self.config.sample_clips))]
        return list(dict.fromkeys(data.captions))[: self.config.sample_clips]

    def components(self, **networks: Network) -> Components:
        """The given networks with codec and text encoder, as a pipeline takes them."""
        return Components(**networks, codec=self.codec, text_encoder=self.encoder, schedule=self.config.schedule)

    def sampled(self, folder: Path | None, steps: Sequence[int], **network: Network) -> dict[str, float]:
        """Write clips of `network`, given by its name, and return their FAD by number of steps if it is asked for.

        Without a codec, or a vocoder in it, there is nothing to hear.
        """
        if not self.config.sample_clips:
            return {}
        if self.codec is None:
            if not self.told:
                logger.info("no samples: a training from a bundle has no codec to make them with")
            self.told = True
            return {}
        if not self.codec.can_decode:
            logger.info("no samples: the codec has no vocoder yet")
            return {}
        from soundctm.training.running.samples import frechet_distance, write_samples  # they need the sound libraries

        ((name, trained),) = network.items()
        made = write_samples(folder, self.components(**{name: trained}), name, steps, self.prompts())
        if folder is None or self.config.fad_reference is None:
            return {}
        return {
            f"fad_{count}step": frechet_distance(path, self.config.fad_reference, self.config.fad_extractor)
            for count, path in made.items()
        }
