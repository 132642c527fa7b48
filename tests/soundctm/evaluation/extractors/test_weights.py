"""Where weights come from; nothing here touches a network."""

from __future__ import annotations

import hashlib

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

from soundctm.errors import UserError
from soundctm.evaluation.extractors.weights import Published, is_hub_id, read_weights, sha256

PUBLISHED = Published("thing", "thing-1.pth", "release 1 of maker/thing on GitHub")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Runs in an empty folder and fails on any attempt to fetch, until a test says otherwise."""
    monkeypatch.chdir(tmp_path)

    def fetch(*arguments, **options):
        raise AssertionError("fetched without being asked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)


@pytest.mark.parametrize("weights", [None, "absent.pth", "folder/absent.pth", "./a/b", "a//b", "."])
def test_absent_weights_say_what_to_fetch_and_where_to_put_it(weights):
    with pytest.raises(UserError) as raised:
        PUBLISHED.locate(weights)
    message = str(raised.value)
    assert "\n" not in message and (weights is None or weights in message)
    for part in ("thing-1.pth", "release 1 of maker/thing", "ckpt/extractors/thing-1.pth", "--weights thing=PATH"):
        assert part in message


def test_default_file_and_folder(tmp_path):
    default = tmp_path / "ckpt" / "extractors" / "thing-1.pth"
    default.parent.mkdir(parents=True)
    default.write_bytes(b"weights")
    assert PUBLISHED.locate().resolve() == PUBLISHED.locate("ckpt/extractors").resolve() == default
    assert PUBLISHED.locate(str(default)) == default
    assert sha256([default, default]) == hashlib.sha256(b"weightsweights").hexdigest()


def test_hub_ids_are_fetched_when_named(tmp_path, monkeypatch):
    asked = []

    def fetch(repository, file):
        asked.append((repository, file))
        if repository == "owner/absent":
            raise OSError("offline")
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert PUBLISHED.locate("owner/name").name == "thing-1.pth"
    assert PUBLISHED.locate("owner/name/sub/other.safetensors").name == "other.safetensors"
    assert asked == [("owner/name", "thing-1.pth"), ("owner/name", "sub/other.safetensors")]
    with pytest.raises(UserError, match="thing-1.pth of owner/absent is neither in the local hub cache nor"):
        PUBLISHED.locate("owner/absent")
    assert not is_hub_id("name") and not is_hub_id("owner/file.pt") and not is_hub_id("~/owner/name")


def test_nested_and_safetensors_files(tmp_path):
    state = {"a": torch.ones(2)}
    torch.save({"model": state, "iteration": 3}, tmp_path / "nested.pth")
    save_file(state, tmp_path / "flat.safetensors")
    assert read_weights(tmp_path / "nested.pth", under="model")["a"].equal(state["a"])
    assert read_weights(tmp_path / "flat.safetensors", under="model")["a"].equal(state["a"])
    torch.save(state, tmp_path / "flat.pth")
    with pytest.raises(UserError, match="has no entry 'model'"):
        read_weights(tmp_path / "flat.pth", under="model")
    (tmp_path / "broken.safetensors").write_bytes(b"text")
    with pytest.raises(UserError, match="is not a safetensors file"):
        read_weights(tmp_path / "broken.safetensors")
