"""Feature maps of the frozen teacher by forward hooks; the loss of section 3 compares them."""

from __future__ import annotations

import torch

from soundctm.audioldm.library import UNet2DConditionModel
from soundctm.networks.base import Depth, check_depth


class _Reached(Exception):
    """Ends a forward pass whose remaining blocks nobody needs."""


def feature_maps(unet: UNet2DConditionModel, depth: Depth, *args: torch.Tensor, **kwargs: object) -> list[torch.Tensor]:
    """Outputs of the blocks of `unet` called with the given arguments.

    "half": the down blocks (the forward ends there); "full" or "chained": down blocks, mid block and up blocks, in
    this order.
    Gradients flow to the inputs. Raises ValueError for another depth.
    """
    check_depth(depth)
    down = list(unet.down_blocks)
    blocks = down if depth == "half" else [*down, unet.mid_block, *unet.up_blocks]
    maps: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, output: object) -> None:
        maps.append(output[0] if isinstance(output, tuple) else output)  # down blocks also return their skips
        if len(maps) == len(blocks):
            raise _Reached

    hooks = [block.register_forward_hook(keep) for block in blocks]
    try:
        unet.forward(*args, **kwargs)  # past `unet.compile()`, whose graph would not see these hooks
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return maps
