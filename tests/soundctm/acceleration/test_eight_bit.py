"""Layers of 8 bits beside those in floats: near to them, the same in any batch, and what they cannot do is said."""

import pytest
import torch
from torch import nn

from soundctm.acceleration import eight_bit, use_int8, why_no_int8
from soundctm.acceleration.eight_bit import Int8Conv2d, Int8Linear
from soundctm.errors import UserError

pytestmark = pytest.mark.skipif(
    why_no_int8(torch.device("cpu")) is not None, reason="this CPU has no exact products of 8 bits"
)


def decibels(found, wanted):
    return 10 * torch.log10(wanted.square().mean() / (found - wanted).square().mean()).item()


LAYERS = {
    "linear": (nn.Linear(48, 64), (3, 10, 48)),
    "linear without bias": (nn.Linear(48, 64, bias=False), (3, 10, 48)),
    "rows": (nn.Linear(48, 64), (3, 48)),
    "convolution": (nn.Conv2d(32, 48, 3, padding=1), (3, 32, 12, 5)),
    "stride": (nn.Conv2d(32, 48, 3, stride=2, padding=1), (3, 32, 12, 6)),
    "pointwise": (nn.Conv2d(32, 48, 1), (3, 32, 12, 5)),
    "one dimension": (nn.Conv1d(32, 48, 7, dilation=3, padding=9), (3, 32, 40)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_near_to_its_floats_and_does_not_depend_on_its_batch(name):
    torch.manual_seed(0)
    layer, shape = LAYERS[name]
    x = torch.randn(shape) * torch.tensor([0.01, 1.0, 100.0]).view(-1, *[1] * (len(shape) - 1))
    with torch.no_grad():
        wanted, fast = layer(x), (Int8Linear if isinstance(layer, nn.Linear) else Int8Conv2d)(layer)
        found = fast(x)
        for row in range(3):
            assert decibels(found[row], wanted[row]) > 33
            assert torch.equal(fast(x[row : row + 1])[0], found[row])
    assert found.shape == wanted.shape and found.dtype == torch.float32
    with torch.no_grad():
        assert fast(x.bfloat16()).dtype == torch.bfloat16


def test_one_sided_values_use_all_steps_and_zero_stays_zero():
    layer = nn.Linear(32, 32, bias=False)
    with torch.no_grad():
        x = torch.rand(1, 64, 32) + 3.0
        assert decibels(Int8Linear(layer)(x), layer(x)) > 30
        assert torch.equal(Int8Linear(layer)(torch.zeros(1, 4, 32)), torch.zeros(1, 4, 32))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_seen(bad):
    x = torch.zeros(1, 4, 32)
    x[0, 0, 0] = bad
    with torch.no_grad():
        assert not Int8Linear(nn.Linear(32, 32))(x).isfinite().any()


def test_gradients_are_refused_not_lost():
    with pytest.raises(UserError, match="no gradients"):
        Int8Linear(nn.Linear(32, 32))(torch.zeros(1, 32, requires_grad=True))


def test_layers_that_do_not_gain_stay():
    network = nn.ModuleDict({
        "wide": nn.Sequential(nn.Linear(64, 64), nn.SiLU(), nn.Conv2d(32, 32, 3)),
        "few": nn.Linear(8, 64),
        "depthwise": nn.Conv1d(64, 64, 7, groups=64),
        "mirrored": nn.Conv1d(64, 64, 7, padding=3, padding_mode="reflect"),
        "time_embedding": nn.Sequential(nn.Linear(64, 64)),
        "norm": nn.GroupNorm(4, 64),
    })  # fmt: skip
    assert use_int8(network) == 2
    assert [type(part).__name__ for part in network["wide"]] == ["Int8Linear", "SiLU", "Int8Conv2d"]
    assert all(
        not isinstance(part, Int8Linear | Int8Conv2d) for name in list(network)[1:] for part in network[name].modules()
    )
    assert "wide.0.weight" not in network.state_dict()


def test_a_cpu_that_cuts_sums_off_is_told(monkeypatch):
    class CutOff(nn.Module):
        def __init__(self, layer):
            super().__init__()

        def forward(self, x):
            return torch.full((4, 32), 63.0)

    monkeypatch.setattr(eight_bit, "Int8Linear", CutOff)
    assert "VNNI" in why_no_int8(torch.device("cpu"))
    assert "cuda" in why_no_int8(torch.device("cuda"))
