"""Starting a training from weights that exist instead of fresh ones."""

from __future__ import annotations

import logging

from torch import nn

from soundctm.errors import UserError

logger = logging.getLogger(__name__)


def start_from(module: nn.Module, given: nn.Module, where: str) -> None:
    """Copy the weights of `given`, read from `where`, into `module`. Raises UserError when their shapes differ."""
    try:
        module.load_state_dict(given.state_dict())
    except RuntimeError as error:
        raise UserError(
            f"the training cannot start from {where}: the shapes differ ({str(error).splitlines()[1].strip()}); "
            "give the configuration that it was trained with"
        ) from error
    logger.info("starting from the weights in %s", where)
