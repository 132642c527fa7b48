"""Bundles: what goes in comes out, sizes hold, damaged files are named."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import write_world

from soundctm.data.bundle.__main__ import main, summary
from soundctm.data.bundle.making import MIB, BundleConfig, make_bundle
from soundctm.data.bundle.numbers import Numbers
from soundctm.data.bundle.reading import BundledTexts, read_bundle
from soundctm.errors import UserError
from soundctm.training.inputs.source import open_sounds
from soundctm.training.running.options import RunConfig, start_accelerator


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    options = write_world(tmp_path_factory.mktemp("world"))
    return {name: options[name] for name in ("corpus", "codec", "cache_dir", "items", "validation_items")}


@pytest.fixture(scope="module")
def bundle(world, tmp_path_factory):
    output = tmp_path_factory.mktemp("bundle") / "bundle.safetensors"
    return make_bundle(BundleConfig(**world, output=str(output), cpu=True))


def test_eight_bits_are_within_half_a_step_and_quiet_blocks_keep_theirs():
    tensor = torch.randn(5, 3, 64, generator=torch.Generator().manual_seed(0))
    tensor[:, 1] *= 1e-3
    tensor[:, 2] = 0.0
    numbers = Numbers.of(tensor, "int8", 2)
    largest = tensor.abs().amax(2, keepdim=True)
    assert ((numbers[:] - tensor).abs() <= 0.51 * largest / 127 + 1e-3 * largest).all()
    assert 0.002 < numbers.error(tensor) < 0.02
    assert Numbers.of(tensor, "float16", 2).error(tensor) < 5e-4
    assert torch.equal(numbers[3], numbers[:][3])


@pytest.mark.parametrize("precision, close", [("int8", 0.015), ("float16", 0.001)])
def test_a_bundle_holds_what_a_training_from_sounds_sees(world, tmp_path, precision, close):
    path = make_bundle(BundleConfig(**world, output=str(tmp_path / "b.safetensors"), precision=precision, cpu=True))
    found = read_bundle(path)
    accelerator = start_accelerator(RunConfig(cpu=True, mixed_precision="no"))
    source = open_sounds(BundleConfig(**world, cpu=True), accelerator)
    assert found.identity == source.identity
    for part, original in ((found.train, source.data), (found.held_out, source.held_out)):
        assert part.captions == original.captions and part.shape == tuple(original.shape)
        assert part.scale_factor == original.scale_factor
        for index in range(len(original)):
            mean, logvar, caption = part[index]
            expected, expected_logvar, expected_caption = original[index]
            assert caption == expected_caption
            assert (mean - expected).norm() < close * expected.norm()
            assert torch.allclose(logvar, expected_logvar, atol=0.02)
    captions = ["", *source.data.captions[:5]]
    ours, theirs = found.texts.encode(captions), source.texts.encode(captions)
    for row, (mask, true_mask) in enumerate(zip(ours.mask, theirs.mask, strict=True)):
        hidden, expected = ours.hidden[row][mask], theirs.hidden[row][true_mask]
        assert hidden.shape == expected.shape and (hidden - expected).norm() < close * expected.norm()


def test_the_largest_size_holds_and_fewer_items_fit(world, bundle, tmp_path):
    most = 0.6 * bundle.stat().st_size / MIB
    small = make_bundle(BundleConfig(**world, output=str(tmp_path / "small.safetensors"), max_mib=most, cpu=True))
    assert small.stat().st_size <= most * MIB
    ours, full = read_bundle(small), read_bundle(bundle)
    assert 0 < len(ours.train) < len(full.train) and len(ours.held_out) == len(full.held_out)
    assert ours.train.captions == full.train.captions[: len(ours.train)]
    with pytest.raises(UserError, match="held-out items alone are more than max_mib"):
        make_bundle(BundleConfig(**world, output=str(tmp_path / "none"), max_mib=0.01, cpu=True))
    assert not (tmp_path / "none").exists()


def test_captions_of_the_same_tokens_share_a_state(bundle):
    header = read_bundle(bundle).header
    by_lower: dict[str, set[int]] = {}
    for caption, state in zip(header["captions"], header["states"], strict=True):
        by_lower.setdefault(caption.lower(), set()).add(state)
    assert all(len(states) == 1 for states in by_lower.values())
    assert len(header["lengths"]) == len(by_lower) < len(header["captions"])


def test_captions_of_one_vector_stay_single_tokens():
    """Padding them would hide that a part of the network is idle."""
    rows = Numbers.of(torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0)), "float16", 2)
    texts = BundledTexts(rows, ["", "a", "b"], [0, 1, 2], [1, 1, 1])
    assert texts.one_token and texts.encode(["a", "b"]).hidden.shape == (2, 1, 32)
    assert not BundledTexts(rows, ["", "a"], [0, 1], [1, 2]).one_token


def test_unknown_captions_and_damaged_files_are_named(bundle, tmp_path, capsys):
    with pytest.raises(UserError, match="no hidden states of the caption 'a whale'"):
        read_bundle(bundle).texts.encode(["a whale"])
    with safe_open(bundle, framework="pt") as file:
        header = json.loads(file.metadata()["bundle"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def changed(header, tensors):
        path = tmp_path / "changed.safetensors"
        save_file(tensors, path, {"bundle": json.dumps(header)})
        return path

    cases = [({}, {}, "not a training bundle"), ({"version": 9}, {}, "version 9")]
    cases += [({"lengths": header["lengths"][1:]}, {}, "do not add up")]
    cases += [({}, {"train.caption": tensors["train.caption"] + 1000}, "not there")]
    cases += [({}, {"train.mean": tensors["train.mean"][:, :1].contiguous()}, "train.mean")]
    for new_header, new_tensors, message in cases:
        whole = {} if message == "not a training bundle" else {**header, **new_header}
        with pytest.raises(UserError, match=message):
            read_bundle(changed(whole, {**tensors, **new_tensors}))
    (tmp_path / "cut").write_bytes(bundle.read_bytes()[:-100])
    assert main(["show", str(tmp_path / "cut")]) == 2 and "cut off or damaged" in capsys.readouterr().err
    assert main(["make", "--bundle", "x"]) == 2
    assert summary(bundle)["held_out"] == 8
