"""Flags of the official `ctm_train.py` that do nothing there, or that only work at one value.

Given at that value they are accepted, so that an official command line still runs; anything else is refused with the
reason, because the run would not be what its flags say. Flags that mean something are fields of the configuration.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from soundctm.errors import UserError


@dataclass(frozen=True)
class DeadFlag:
    """`harmless` values change nothing; `reason` completes the sentence "--flag value is refused: ..."."""

    harmless: tuple[str, ...]
    reason: str


DEAD_FLAGS: dict[str, DeadFlag] = {
    "auxiliary_type": DeadFlag(("stop_grad",), "the official code never reads it"),
    "ctm_unet_model_config": DeadFlag(
        ("configs/diffusion_model_config.json",), "the student has the shape of the --teacher folder"
    ),
    "distill_steps_per_iter": DeadFlag(("50000",), "it belongs to scale_mode progdist, whose target never moves"),
    "ema_rate": DeadFlag(("0.999",), "it only names a file there; the decay is --start_ema"),
    "freeze_text_encoder": DeadFlag(("true",), "the text encoder is always frozen; training it crashes there"),
    "inner_parametrization": DeadFlag(("edm",), "samplers and checkpoints here know the released one, edm"),
    "latent_channels": DeadFlag(("8",), "the shape of the latents is the codec's"),
    "latent_f_size": DeadFlag(("16",), "the shape of the latents is the codec's"),
    "latent_t_size": DeadFlag(("256",), "the shape of the latents is the codec's"),
    "lr_anneal_steps": DeadFlag(("0",), "the course of the learning rate is --lr_schedule"),
    "num_train_epochs": DeadFlag(("40",), "it is overwritten there; the length is --total_training_steps"),
    "parametrization": DeadFlag(("euler",), "samplers and checkpoints here know the released one, euler"),
    "schedule_sampler": DeadFlag(("uniform",), "t is drawn uniformly on the grid; the others crash there"),
    "training_mode": DeadFlag(("ctm",), "only ctm trains; the others crash there for want of s"),
    "unet_model_config": DeadFlag(
        ("configs/diffusion_model_config.json",), "the teacher's shape is in the --teacher folder"
    ),
}


class _Refuse(argparse.Action):
    """Accepts a dead flag at a harmless value, and leaves no trace of it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        flag = DEAD_FLAGS[self.dest]
        if str(values).lower() not in flag.harmless:
            known = " or ".join(flag.harmless)
            raise UserError(f"--{self.dest} {values} is refused: {flag.reason}; leave it out or give {known}")


def add_dead_flags(parser: argparse.ArgumentParser) -> None:
    """Let `parser` know the dead flags, outside its help. Parsing raises UserError for one that asks for something."""
    for name in DEAD_FLAGS:
        parser.add_argument(
            f"--{name}", action=_Refuse, nargs="?", const="true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
