"""Linear layers and long attention through oneDNN: the library's values, and the library itself where it cannot."""

import copy

import pytest
import torch
from torch import nn

from soundctm.acceleration import onednn
from soundctm.acceleration.onednn import LONG, LongAttention, OneDNNLinear, attend, use_library, use_onednn
from soundctm.audioldm.library import Attention, AttnProcessor2_0

pytestmark = pytest.mark.skipif(not onednn.available(), reason="this torch has no oneDNN")


@pytest.fixture
def counted(monkeypatch):
    """How often oneDNN multiplied."""
    calls, inner = [], onednn.product
    monkeypatch.setattr(onednn, "product", lambda *args: (calls.append(1), inner(*args))[1])
    return calls


def close(found, wanted, tolerance=2e-6):
    torch.testing.assert_close(found, wanted, atol=tolerance * wanted.abs().max().item(), rtol=0)


@pytest.mark.parametrize("shape", [(5, 24), (2, 7, 24), (2, 3, 4, 24), (24,)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_gives_the_same_in_any_shape(shape, bias, counted):
    torch.manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias)
    wanted = layer(x := torch.randn(shape))
    layer = use_onednn(nn.Sequential(layer))
    with torch.no_grad():
        close(layer(x), wanted)
    assert counted == [1] and type(layer[0]) is OneDNNLinear
    assert type(use_library(layer)[0]) is nn.Linear


def test_strided_input_is_read_as_it_is():
    torch.manual_seed(0)
    layer, x = nn.Linear(24, 8), torch.randn(24, 6).T
    wanted = layer(x)
    with torch.no_grad():
        close(use_onednn(nn.Sequential(layer))(x), wanted)


def test_gradients_autocast_and_other_formats_take_the_librarys_way(counted):
    layer = use_onednn(nn.Sequential(nn.Linear(8, 8)))
    layer(x := torch.randn(3, 8)).sum().backward()
    assert layer[0].weight.grad is not None
    frozen = layer.requires_grad_(False)
    frozen(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16
        assert layer.float()(x[:0]).shape == (0, 8)
    assert not counted


def test_copies_and_state_dicts_are_those_of_a_linear_layer():
    layer = nn.Sequential(nn.Linear(8, 8))
    names = list(layer.state_dict())
    again = copy.deepcopy(use_onednn(layer))
    assert list(again.state_dict()) == names
    assert again[0].weight is not layer[0].weight


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_by_pieces_is_attention(heads, monkeypatch):
    monkeypatch.setattr(onednn, "PIECE", 100 * 64)  # several pieces, the last one shorter
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(2, heads, 200, 16).transpose(1, 2).contiguous().transpose(1, 2) for _ in "qkv")
    wanted = nn.functional.scaled_dot_product_attention(queries, keys, values)
    close(attend(queries, keys, values), wanted)
    close(attend(queries, keys, values, half=True), wanted, 0.03)
    half = attend(queries.bfloat16(), keys.bfloat16(), values.bfloat16())
    assert half.dtype == torch.bfloat16
    close(half.float(), wanted, 0.03)


@pytest.mark.parametrize(
    ("options", "shape"),
    [({}, (2, LONG, 32)), ({"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 2.0},
      (2, 32, LONG // 4, 4))],
)  # fmt: skip
def test_a_layer_of_attention_gives_the_same(options, shape, counted):
    torch.manual_seed(0)
    layer, x = Attention(32, heads=2, dim_head=16, bias=True, **options).eval(), torch.randn(shape)
    with torch.no_grad():
        wanted = layer(x)
        assert isinstance(use_onednn(layer).processor, LongAttention)
        close(layer(x), wanted)
    assert len(counted) > 4
    assert type(use_library(layer).processor) is AttnProcessor2_0


def test_cross_attention_masks_few_tokens_and_gradients_are_the_librarys():
    torch.manual_seed(0)
    layer = Attention(32, cross_attention_dim=16, heads=2, dim_head=16).eval()
    x, text, mask = torch.randn(2, LONG, 32), torch.randn(2, 5, 16), torch.zeros(2, 1, 5)
    mask[0, :, 3:] = -10_000.0
    wanted = layer(x, text, attention_mask=mask)
    with torch.no_grad():
        close(use_onednn(layer)(x, text, attention_mask=mask), wanted)
    own = use_onednn(Attention(32, heads=2, dim_head=16).eval())
    own(x.requires_grad_()).sum().backward()
    assert x.grad is not None
