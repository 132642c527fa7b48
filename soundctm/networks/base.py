"""What every backbone says of itself, so that nothing above it asks which one it has."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn

from soundctm.errors import UserError
from soundctm.text.conditioning import TextConditioning

Depth = Literal["half", "full", "chained"]
DEPTHS = ("full", "half", "chained")


class Network(abc.ABC):
    """F(z, t, text[, s, omega]), the network inside a denoiser: a mixin for a diffusers model.

    z is scaled by c_in; t and s are ln(sigma)/4. A teacher knows no s and no omega.
    """

    feature_axis: ClassVar[int] = 1  # over which feature maps are brought to unit length before they are compared

    @abc.abstractmethod
    def predict(
        self,
        z: torch.Tensor,
        t: torch.Tensor,
        text: TextConditioning,
        s: torch.Tensor | None = None,
        omega: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The output for latents z [B, C, T, ...], times t and s [B], omega [B]: shape of z, dtype of the network."""

    @abc.abstractmethod
    def features(self, z: torch.Tensor, t: torch.Tensor, text: TextConditioning, depth: Depth) -> list[torch.Tensor]:
        """Feature maps of the feature loss, in network order; gradients flow to z.

        "full" is the official form, "half" its first half. "chained": every block on what the one before it gave,
        where the official form does something else. Raises ValueError for another depth.
        """

    @property
    @abc.abstractmethod
    def last_weight(self) -> nn.Parameter:
        """The weight at which the adaptive weight compares the gradients of the losses."""

    @property
    @abc.abstractmethod
    def repeated_blocks(self) -> list[nn.Module]:
        """The blocks that hold nearly all of the weights: what is cut over processes one at a time."""

    @abc.abstractmethod
    def check_latents(self, shape: Sequence[int]) -> None:
        """Raises UserError when the network cannot take latents of `shape`, [C, T] or [C, T, F]."""

    @classmethod
    @abc.abstractmethod
    def for_text(cls, config: Mapping[str, Any], width: int) -> Self:
        """A network of random weights for hidden states of `width`. Raises UserError where they cannot go together."""

    def bind(self, text: TextConditioning) -> TextConditioning:
        """`text` with what many calls on the same text can share, computed now; without gradients."""
        return text

    def idle_parameters(self, one_token: bool) -> list[nn.Parameter]:
        """Weights without any effect where every caption is a single vector (`one_token`): a training leaves them as
        they are. Their gradients would be nothing but rounding, which an optimiser scales up to steps like all others.
        """
        return []


class TeacherNetwork(Network):
    """A network of t alone."""

    @abc.abstractmethod
    def new_student(self) -> StudentNetwork:
        """A student of the same shape that starts with these weights."""


class StudentNetwork(Network):
    """A network of t, s and omega."""

    @abc.abstractmethod
    def start_as(self, teacher: TeacherNetwork) -> Self:
        """Take every weight of the teacher. Raises RuntimeError on other shapes."""


def hooked(module: nn.Module) -> bool:
    """Has a library put hooks into the module, as offloading and casting by layer do?

    Looks into the modules' own dictionaries: by attributes it takes a millisecond for the small UNet, a thirtieth of a
    forward pass.
    """
    waiting = [module]
    while waiting:
        own = waiting.pop().__dict__
        if "_hf_hook" in own or "_diffusers_hook" in own:
            return True
        waiting += [part for part in own["_modules"].values() if part is not None]
    return False


def check_depth(depth: str) -> None:
    """Raises ValueError for a depth that there is not."""
    if depth not in DEPTHS:
        raise ValueError(f"depth is {depth!r}; it must be one of {', '.join(map(repr, DEPTHS))}")


def refuse_latents(name: str, wanted: str, shape: Sequence[int]) -> None:
    """Raises the UserError of `check_latents`."""
    raise UserError(f"a {name} for latents {wanted} cannot take those of this codec, {list(shape)}")
