"""What `auto` means where bfloat16 is faster and where it is not."""

import pytest
import torch

from soundctm import precision
from soundctm.acceleration import rates


@pytest.mark.parametrize(("seconds", "chosen"), [(0.5, "bf16"), (0.9, "no"), (3.0, "no")])
def test_auto_on_a_cpu_is_bf16_only_where_it_was_faster(monkeypatch, seconds, chosen):
    monkeypatch.setattr(rates, "_known", {rates.machine(): {"float32": 1.0, "bfloat16": seconds}})
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)  # nobody asks
    assert precision.resolve("auto", "cpu") == chosen


@pytest.mark.parametrize(
    ("available", "native", "chosen"), [(True, True, "bf16"), (True, False, "no"), (False, True, "no")]
)
def test_auto_on_cuda_asks_the_gpu(monkeypatch, available, native, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert precision.resolve("auto", "cuda:0") == chosen


def test_unknown_devices_use_float32_and_a_choice_is_kept():
    assert precision.resolve("auto", "mps") == "no"
    assert [precision.resolve(name, "cpu") for name in ("no", "bf16", "fp16")] == ["no", "bf16", "fp16"]
    with pytest.raises(ValueError, match="'half'.*auto"):
        precision.resolve("half", "cpu")


def test_the_widest_format_is_one_that_the_device_has():
    assert precision.widest("cpu") == precision.widest(torch.device("cuda:1")) == torch.float64
    assert precision.widest("mps") == torch.float32
