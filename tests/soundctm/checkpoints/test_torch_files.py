"""Reading torch files: what is refused, and that refusing runs nothing."""

import collections
import os
import pickle
import zipfile

import pytest
import torch

from soundctm.checkpoints.torch_files import read_state_dict
from soundctm.errors import UserError

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


class Touches:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_reads_both_layouts_with_and_without_the_parallel_prefix(tmp_path, zipped, prefix):
    state = collections.OrderedDict((prefix + key, value) for key, value in STATE.items())
    torch.save(state, tmp_path / "model.bin", _use_new_zipfile_serialization=zipped)
    read = read_state_dict(tmp_path / "model.bin")
    assert list(read) == list(STATE)
    assert all(torch.equal(read[key], STATE[key]) for key in STATE)


def test_a_prefix_on_some_keys_only_is_left_alone(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "model.bin")
    assert set(read_state_dict(tmp_path / "model.bin")) == {"module.a", "b"}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_raw_pickle_that_would_run_code_is_refused(tmp_path, protocol):
    (tmp_path / "model.bin").write_bytes(pickle.dumps(Touches(tmp_path / "ran"), protocol))
    with pytest.raises(UserError, match=r"model.bin is refused.*mkdir"):
        read_state_dict(tmp_path / "model.bin")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_that_would_run_code_is_refused(tmp_path, zipped):
    state = {**STATE, "step": Touches(tmp_path / "ran")}
    torch.save(state, tmp_path / "model.bin", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"model.bin is refused.*mkdir"):
        read_state_dict(tmp_path / "model.bin")
    assert not (tmp_path / "ran").exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.bin")
    with pytest.raises(UserError, match=r"refused.*torch.nn.modules.linear.Linear"):
        read_state_dict(tmp_path / "model.bin")


@pytest.mark.parametrize(
    "content",
    [b"", bytes(range(256)) * 20, b"\x80", b"\x80\x02", b"PK\x03\x04"],
)
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(UserError, match="model.bin is not a torch checkpoint"):
        read_state_dict(tmp_path / "model.bin")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off(tmp_path, share):
    torch.save({"a": torch.zeros(10000)}, tmp_path / "whole.bin")
    whole = (tmp_path / "whole.bin").read_bytes()
    (tmp_path / "model.bin").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="cut off"):
        read_state_dict(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, 2], "holds a list"),
        ({}, "tensors by name"),
        ({"step": 3, **STATE}, "step is not a tensor"),
        ({"state_dict": STATE}, "no flat state dict"),
    ],
)
def test_a_checkpoint_of_another_kind(tmp_path, content, says):
    torch.save(content, tmp_path / "model.bin")
    with pytest.raises(UserError, match=says):
        read_state_dict(tmp_path / "model.bin")


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path / "nothing.bin", tmp_path):
        with pytest.raises(UserError, match="no checkpoint file at"):
            read_state_dict(path)


def packed_again(path, compression, extra=()):
    with zipfile.ZipFile(path) as old:
        entries = [(entry.filename, old.read(entry)) for entry in old.infolist()]
    with zipfile.ZipFile(path, "w", compression) as new:
        for name, content in [*entries, *extra]:
            new.writestr(name, content)


def test_a_file_packed_again_with_compression_is_read_right(tmp_path):
    path = tmp_path / "model.bin"
    state = {"a": torch.arange(50_000.0), "b": torch.zeros(3, 5)}
    torch.save(state, path)
    packed_again(path, zipfile.ZIP_DEFLATED)
    read = read_state_dict(path)
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_what_unfolds_to_too_much_is_refused_unread(tmp_path):
    torch.save(STATE, tmp_path / "model.bin")
    packed_again(tmp_path / "model.bin", zipfile.ZIP_DEFLATED, [("model/data/9", bytes(100 * 2**20))])
    with pytest.raises(UserError, match="would unfold to"):
        read_state_dict(tmp_path / "model.bin")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."])
def test_wrappers_of_any_nesting_are_taken_off(tmp_path, prefix):
    torch.save({prefix + "conv._orig_mod.weight": torch.ones(2)}, tmp_path / "model.bin")
    assert list(read_state_dict(tmp_path / "model.bin")) == ["conv.weight"]


def test_a_pointer_of_git_lfs_is_called_one(tmp_path):
    (tmp_path / "model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match="Git LFS pointer"):
        read_state_dict(tmp_path / "model.bin")
