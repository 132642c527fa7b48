"""What the trainings of teacher and student share: latents, text, validation on held-out clips, and what they sound
like."""

from __future__ import annotations

import abc
import math
import sys
from typing import ClassVar

import torch
from accelerate import Accelerator

from audioldm.codec import AudioLDMCodec
from soundctm.checkpoints import Components
from soundctm.data.latents import state_hash
from soundctm.distributed import mean_over_processes
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder
from soundctm.training.batches import Batch, LatentBatches, LatentRows, encode_all, with_text
from soundctm.training.source import open_latents
from soundctm.training.task import Task

HELD_OUT_SEED = 1
CACHED_CAPTIONS = 1 << 17


class DiffusionTask(Task):
    """A training on latents with text. The configuration is a SourceConfig and a RunConfig."""

    validation_batch: ClassVar[int] = 32  # held-out clips per call
    validation_rows: ClassVar[int | None] = None  # and in all; None: every one

    def __init__(self, config, accelerator: Accelerator) -> None:
        super().__init__(config, accelerator)
        self.shares = self.share_out(config.per_device_train_batch_size)
        self.codec = AudioLDMCodec.from_pretrained(config.codec)
        self.encoder = TextEncoder.from_pretrained(config.text_encoder_name, cache_entries=CACHED_CAPTIONS)
        self.encoder.to(self.device)
        data, held_out = open_latents(config, self.codec, accelerator)
        encode_all(self.encoder, [*data.captions, *(held_out.captions if held_out else ())])
        self.source = LatentBatches(data, self.shares.total, config.uncond_prob, config.seed)
        self.held_out = LatentBatches(held_out, 0, 0.0, HELD_OUT_SEED, shuffle=False) if held_out else None
        schedule = config.schedule
        self.identity = {name: getattr(schedule, name) for name in ("sigma_min", "sigma_max", "rho", "sigma_data")} | {
            "weights of the VAE": state_hash(self.codec.vae.state_dict())[:12],
            "weights of the text encoder": state_hash(self.encoder.model.state_dict())[:12],
        }

    def with_text(self, rows: LatentRows) -> Batch:
        """A batch of `source` on the device, with its captions encoded."""
        return with_text(rows, self.encoder, self.device)

    @abc.abstractmethod
    def held_out_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Mean losses (0-dim) of held-out rows; all random numbers depend on the row and HELD_OUT_SEED alone."""

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses over all held-out items, shared out over the processes."""
        if self.held_out is None:
            return {}
        count = min(len(self.held_out.data.captions), self.validation_rows or sys.maxsize)
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
                sums[name] = sums.get(name, 0.0) + value.double() * len(rows) * real
        means = mean_over_processes(torch.stack(list(sums.values()))) * (world / count)
        return dict(zip(sums, means.tolist(), strict=True))

    def prompts(self) -> list[str]:
        """Captions of the clips that are made at validations: different ones, of held-out clips where there are any."""
        data = (self.held_out or self.source).data
        return list(dict.fromkeys(data.captions))[: self.config.sample_clips]

    def components(self, schedule: SigmaSchedule, **networks: StudentUNet | TeacherUNet) -> Components:
        """The given networks with codec and text encoder, as a pipeline takes them."""
        return Components(**networks, codec=self.codec, text_encoder=self.encoder, schedule=schedule)
