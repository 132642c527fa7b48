"""`weights.pth` and `z_stats.pth`: every official key, strides from the file, there and back, and what does not fit."""

import json

import pytest
import torch
from dit import FOLDER, filled, golden, golden_meta
from helpers import close

from soundctm.checkpoints.official.autoencoder import load_autoencoder, normed, save_autoencoder
from soundctm.checkpoints.torch_files import read_torch_file
from soundctm.codecs.waveform import WaveformCodec
from soundctm.errors import UserError

KWARGS = golden_meta("i_autoencoder")["kwargs"]["b"]
G, H = golden("i_autoencoder"), golden("h_latents_data")


def manifest(name: str) -> dict[str, tuple[int, ...]]:
    entries = json.loads((FOLDER / "manifests" / f"{name}.json").read_text())["tensors"]
    return {key: tuple(entry["shape"]) for key, entry in entries.items()}


def small() -> dict[str, torch.Tensor]:
    widths = KWARGS["latent_dim"], KWARGS["encoder_dim"], KWARGS["decoder_dim"]
    shapes = {key: value.shape for key, value in normed(WaveformCodec(KWARGS["encoder_rates"], *widths)).items()}
    return {key: filled(key, shape, 1404) for key, shape in shapes.items()}


def write(folder, state, kwargs=KWARGS, **metadata):
    """Both official files of a codec."""
    folder.mkdir(exist_ok=True)
    torch.save({"z_mean": H["norm.z_mean"], "z_std": H["norm.z_std"]}, folder / "z_stats.pth")
    about = metadata | ({"kwargs": kwargs} if kwargs else {})
    torch.save({"state_dict": state, "metadata": about}, folder / "weights.pth")
    return folder / "weights.pth", folder / "z_stats.pth"


@torch.no_grad()
@pytest.mark.parametrize("kwargs", [KWARGS, None])
def test_the_files_give_the_golden(tmp_path, kwargs):
    """With the constructor's arguments, and without: the kernels tell the strides."""
    codec = load_autoencoder(*write(tmp_path, small(), kwargs))
    assert codec.rates == (4, 4, 8, 8) and codec.sampling_rate == 44_100
    close(codec.decode_frames(G["b.z"]), G["b.wave"][:, 0], 3e-5)
    close(codec.normalise(H["norm.z"]), H["norm.x_start"], 1e-5)


@pytest.mark.parametrize("rates", ["4_4_8_8", "2_4_8_16"])
def test_every_key_and_shape_of_the_manifests(rates):
    kwargs = golden_meta("i_autoencoder")["kwargs"][f"full_{rates}"]
    with torch.device("meta"):
        codec = WaveformCodec(kwargs["encoder_rates"], 64, kwargs["encoder_dim"], kwargs["decoder_dim"])
    found = {key: tuple(value.shape) for key, value in normed(codec).items()}
    assert found == manifest(f"gaussiandac_rates_{rates}")


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("rates", ["4_4_8_8", "2_4_8_16"])
def test_files_of_official_size_give_the_golden(tmp_path, rates):
    name = f"full_{rates}"
    state = {key: filled(key, shape, 1404) for key, shape in manifest(f"gaussiandac_rates_{rates}").items()}
    codec = load_autoencoder(*write(tmp_path, state, golden_meta("i_autoencoder")["kwargs"][name]))
    close(codec.decode_frames(G[f"{name}.z"]), G[f"{name}.wave"][:, 0], 3e-5)


@torch.no_grad()
def test_there_and_back(tmp_path):
    codec = load_autoencoder(*write(tmp_path / "official", small()))
    (tmp_path / "back").mkdir()
    paths = tmp_path / "back" / "weights.pth", tmp_path / "back" / "z_stats.pth"
    codec.decoder.conv1.weight.data[0] = 0  # weight norm has no direction for a channel of nothing
    save_autoencoder(codec, *paths)
    content = read_torch_file(paths[0])
    assert content["state_dict"].keys() == small().keys()
    assert content["metadata"]["kwargs"] == KWARGS
    again = load_autoencoder(*paths)
    for key, value in codec.state_dict().items():
        close(again.state_dict()[key], value, 1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("pre_conv.bias"), r"1 key missing \(pre_conv.bias\)"),
        (lambda s: s.pop("encoder.block.1.block.4.weight_g"), r"missing \(encoder.block.1.block.4.weight_g\)"),
        (lambda s: s.update({"encoder.block.9.bias": torch.ones(1)}), r"not expected \(encoder.block.9.bias\)"),
        (lambda s: s.update({"post_conv.bias": torch.ones(3)}), r"post_conv.bias is \[3\], not \[64\]"),
        (lambda s: s["post_conv.bias"].fill_(torch.inf), "NaN or infinite"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(tmp_path, change, says):
    state = small()
    change(state)
    paths = write(tmp_path, state)
    with pytest.raises(UserError, match=says) as caught:
        load_autoencoder(*paths)
    assert str(caught.value).startswith(str(paths[0])) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"decoder_rates": [4, 4, 8, 8]}, "not the encoder's in reverse order"),
        ({"encoder_rates": 7}, "not the encoder's in reverse order"),
        ({"encoder_rates": [4, 4, 8, 16], "decoder_rates": [16, 8, 4, 4]}, "of another shape"),
        ({"encoder_dim": -4}, "must be a whole number from 1"),
        ({"encoder_dim": None}, "its metadata lacks encoder_dim"),
        ({"encoder_rates": [3, 4], "decoder_rates": [4, 3]}, "describes no usable autoencoder: strides"),
    ],
)
def test_arguments_that_do_not_fit_are_one_line(tmp_path, change, says):
    with pytest.raises(UserError, match=says) as caught:
        load_autoencoder(*write(tmp_path, small(), KWARGS | change))
    assert "weights.pth" in str(caught.value) and "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path):
    weights, stats = write(tmp_path, small())
    with pytest.raises(UserError, match="has no entry 'state_dict'"):
        load_autoencoder(stats)
    with pytest.raises(UserError, match="weights.pth is no flat state dict|2 keys missing"):
        load_autoencoder(weights, weights)
    torch.save({"z_mean": torch.zeros(3), "z_std": torch.ones(3)}, stats)
    with pytest.raises(UserError, match=r"z_stats.pth does not fit this model: .*z_mean is \[3\], not \[64\]"):
        load_autoencoder(weights, stats)
    torch.save({"z_mean": torch.zeros(64), "z_std": torch.zeros(64)}, stats)
    with pytest.raises(UserError, match="z_std must be above 0"):
        load_autoencoder(weights, stats)
    with pytest.raises(UserError, match="is refused: unpickling it would call"):
        load_autoencoder(*write(tmp_path, small(), logs=print))
    with pytest.raises(UserError, match="describes no model of this kind: encoder.block.0.weight_v is missing"):
        load_autoencoder(*write(tmp_path, {"a": torch.ones(1)}, None))
