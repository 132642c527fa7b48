"""Tensors under names that are not UTF-8."""

import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save

from soundctm.files.tensors import load_tensors, open_tensors


@pytest.mark.parametrize("name", [b"plain", b"caf\xe9", "café".encode()])
def test_a_file_under_any_name(tmp_path, name):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name + b".safetensors"))
    path.write_bytes(save({"a": torch.arange(6.0), "b": torch.ones(2, 2).half()}, {"x": "y"}))
    assert torch.equal(load_tensors(path)["a"], torch.arange(6.0))
    file = open_tensors(path)
    path.unlink()  # what is open stays readable
    assert file.metadata() == {"x": "y"} and torch.equal(file.get_tensor("b"), torch.ones(2, 2).half())
    path.write_bytes(b"0")
    for read in (load_tensors, open_tensors):
        with pytest.raises(SafetensorError):
            read(path)
    path.unlink()
    for read in (load_tensors, open_tensors):
        with pytest.raises(OSError):
            read(path)
