"""Networks stored as int8: small files, small errors, floats in memory."""

import torch
from helpers import UNET_CONFIG

from soundctm.checkpoints import load_network, save_network
from soundctm.checkpoints.eight_bit import SCALE, pack, unpack
from soundctm.networks import TeacherUNet


def test_rounding_is_bounded_by_the_channel():
    generator = torch.Generator().manual_seed(0)
    state = {
        "conv": torch.randn(5, 3, 3, 3, generator=generator) * torch.logspace(-3, 3, 5)[:, None, None, None],
        "zero": torch.zeros(2, 4),
        "bias": torch.randn(5, generator=generator),
    }
    packed = pack(state)
    assert packed["conv"].dtype == torch.int8 and packed["conv" + SCALE].shape == (5, 1, 1, 1)
    back = unpack(packed)
    assert set(back) == set(state)
    largest = state["conv"].abs().amax((1, 2, 3), keepdim=True)
    assert ((back["conv"] - state["conv"]).abs() <= largest / 254 * 1.001).all()
    assert torch.equal(back["zero"], state["zero"])
    assert unpack(state) is not state and all(unpack(state)[k] is v for k, v in state.items())


def test_network_round_trip(tmp_path):
    torch.manual_seed(0)
    network = TeacherUNet.from_config(UNET_CONFIG)
    save_network(tmp_path / "half", network, torch.float16)
    save_network(tmp_path / "int8", network, torch.int8)
    size = {kind: (tmp_path / kind / "diffusion_pytorch_model.safetensors").stat().st_size for kind in ("half", "int8")}
    assert size["int8"] < 0.65 * size["half"]
    again = load_network(tmp_path / "int8", "teacher")
    assert all(value.dtype == torch.float32 for value in again.state_dict().values())
    inputs = torch.randn(1, 8, 16, 8), torch.tensor([0.3]), torch.randn(1, 4, 32)
    with torch.no_grad():
        want, got = network.eval()(*inputs).sample, again.eval()(*inputs).sample
    assert (want - got).abs().max() < 0.03 * want.abs().max()
