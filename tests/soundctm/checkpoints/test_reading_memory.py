"""Weights are read in the number format that they run in, with little more in memory than what stays."""

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.measuring import PeakMemory
from soundctm.checkpoints import weight_files
from soundctm.checkpoints.assign import check_finite
from soundctm.checkpoints.eight_bit import pack, unpack
from soundctm.checkpoints.weight_files import read_safetensors
from soundctm.errors import UserError

MIB = 2**20


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_peak_is_near_what_stays(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(weight_files, "AT_ONCE", 8 * MIB)
    path = tmp_path / "model.safetensors"
    save_file({f"layer.{k}": torch.full((MIB // 2,), float(k)) for k in range(64)}, path)  # 128 MiB
    with PeakMemory(torch.device("cpu")) as peak:
        state = read_safetensors(path, dtype)
    if peak.bytes is None:
        pytest.skip("this system does not tell peaks of memory")
    stays = sum(value.nbytes for value in state.values())
    assert stays == 64 * MIB // 2 * dtype.itemsize
    assert peak.bytes < 1.3 * stays
    assert all(state[f"layer.{k}"].eq(k).all() and state[f"layer.{k}"].dtype == dtype for k in range(64))


def test_the_file_may_be_replaced_afterwards_and_whole_numbers_stay(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3), "b": torch.arange(3), "c": torch.ones(3).half()}, path)
    state = read_safetensors(path, torch.float32)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert {name: (value.dtype, value.tolist()) for name, value in state.items()} == {
        "a": (torch.float32, [1.0] * 3), "b": (torch.int64, [0, 1, 2]), "c": (torch.float32, [1.0] * 3),
    }  # fmt: skip


def test_steps_of_packed_weights_are_not_rounded(tmp_path):
    torch.manual_seed(0)
    packed = pack({"weight": torch.randn(8, 5), "bias": torch.randn(8)})
    save_file(packed, path := tmp_path / "model.safetensors")
    found = unpack(read_safetensors(path, torch.bfloat16))
    assert torch.equal(found["weight"], unpack(packed)["weight"])
    assert found["bias"].dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_single_value_that_is_no_number_is_found(dtype, bad):
    fine = {"empty": torch.zeros(0, dtype=dtype), "whole": torch.ones(2, dtype=torch.int8), "scalar": torch.tensor(1.0)}
    value = torch.full((3, 5), torch.finfo(dtype).max, dtype=dtype)
    check_finite({**fine, "value": value}, "a file")
    value[1, 2] = bad
    with pytest.raises(UserError, match=r"a file .*\(value\)"):
        check_finite({**fine, "value": value}, "a file")
