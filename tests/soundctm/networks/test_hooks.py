"""What libraries hook into a network, over both backbones."""

import torch
from backbones import over_both
from helpers import close

from soundctm.networks.base import hooked


@over_both
@torch.no_grad()
def test_weights_that_hooks_cast_are_computed_with_in_the_format_that_the_hooks_say(net):
    """The library's layerwise casting, as for weights of 8 bits on a GPU."""
    network = net.new_teacher(config=net.SMALLER).network
    e = net.golden("e_losses")
    given = e["pair.x_start"][:, :, :16], torch.tensor([0.3, 0.4]), net.text(e)
    assert not hooked(network) and network.dtype == torch.float32
    wanted = network.predict(*given)
    network.enable_layerwise_casting(torch.bfloat16, torch.float32)
    assert torch.bfloat16 in {weight.dtype for weight in network.parameters()}
    assert hooked(network) and network.dtype == torch.float32
    found = network.predict(*given)
    assert found.dtype == torch.float32
    close(found, wanted, 0.05, 0.05 * wanted.abs().max().item())
