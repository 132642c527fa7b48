"""Networks too large for one device: weights, gradients and optimiser state cut over the processes (torch's FSDP).

Checkpoints hold whole tensors, the same as without sharding: a run may go on with another number of processes, sharded
or not. They are loaded before the networks are cut, and gathered by all processes for writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from soundctm.networks import Network
from soundctm.training.tasks.task import trained_parameters


def new_mesh(device: torch.device) -> DeviceMesh:
    """All processes in a row."""
    return init_device_mesh(device.type, (dist.get_world_size(),))


def shard_network(network: Network, mesh: DeviceMesh, trained: bool) -> None:
    """Cut a network over the processes of `mesh`, a block at a time.

    The output layer of a trained one stays whole from the forward pass to the end of the backward pass, because the
    adaptive weight asks for its gradient in between.
    """
    network.to(memory_format=torch.contiguous_format)  # the only one that torch cuts
    for block in network.repeated_blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh, reshard_after_forward=not trained)


def shard_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """An optimiser of the same kind for the cut parameters of `module` that are trained, with the state that
    `optimizer` had."""
    old = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    cut = trained_parameters(module)
    options = {name: value for name, value in optimizer.param_groups[0].items() if name in optimizer.defaults}
    new = type(optimizer)(cut, **options)
    for before, parameter in zip(old, cut, strict=True):
        if before in optimizer.state:
            new.state[parameter] = {name: _cut_as(parameter, v) for name, v in optimizer.state[before].items()}
    return new


def whole(value: Any) -> Any:
    """`value`, a state dict of any depth, with whole tensors on the CPU in the place of cut ones.

    All processes must call it together.
    """
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    return [whole(part) for part in value] if isinstance(value, list) else value


def synchronise(modules: Sequence[nn.Module], wanted: bool) -> None:
    """Whether the coming backward pass averages gradients over the processes."""
    for module in modules:
        module.set_requires_gradient_sync(wanted)


def _cut_as(parameter: torch.Tensor, value: Any) -> Any:
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value  # a count of steps
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
