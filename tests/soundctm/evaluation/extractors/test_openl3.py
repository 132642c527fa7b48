"""OpenL3: its front end and layers against numbers written out anew, and the files of weights in all their forms.

No published weights and no TensorFlow are at hand, so openl3 itself was not run: the reference here is a second writing
of what openl3 0.4.2 and kapre 0.3.7 do, in NumPy and float64.
"""

from __future__ import annotations

import gzip

import h5py
import numpy as np
import pytest
import torch
from extractor_files import assert_behaves, signal
from helpers import close, tensor_for
from safetensors.torch import load_file, save_file

from soundctm.errors import UserError
from soundctm.evaluation.extractors import openl3_files
from soundctm.evaluation.extractors.openl3 import OpenL3, cut, load_openl3, log_mel
from soundctm.evaluation.extractors.openl3_files import LAYERS, read_openl3
from soundctm.evaluation.extractors.registry import load_extractor

WIDTH = 4
RATE = 48_000
CHANNELS = (1, 1, 1, 2, 2, 4, 4, 8, 8)  # times the width, but for the first


def layers(width: int = WIDTH) -> list[dict[str, np.ndarray]]:
    """Norms and convolutions in their order, tensors under Keras' names and in its layout."""
    channels = [1, *(width * factor for factor in CHANNELS[1:])]
    made = []
    for number, (before, after) in enumerate(zip(channels, channels[1:], strict=False)):
        fill = lambda name, *shape, number=number: tensor_for(f"{number}.{name}", shape, 705)  # noqa: E731
        variance = fill("running_var", before)
        made.append(
            {
                "gamma": fill("norm.weight", before),
                "beta": fill("norm.bias", before),
                "moving_mean": fill("mean.bias", before),
                "moving_variance": np.abs(variance) + 0.5,
            }
        )
        made.append({"kernel": fill("kernel.weight", 3, 3, before, after), "bias": fill("conv.bias", after)})
    return made


def write_h5(path, made, first: int = 17):
    """As Keras writes weights: layers under running numbers of its own, some without weights, the last one named."""
    with h5py.File(path, "w") as file:
        names = ["input_3"]
        file.create_group("input_3").attrs["weight_names"] = []
        for number, layer in enumerate(made):
            kind = "conv2d" if "kernel" in layer else "batch_normalization"
            name = "audio_embedding_layer" if number == len(made) - 1 else f"{kind}_{first + number // 2}"
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in layer]
            for key, value in layer.items():
                group.create_dataset(f"{name}/{key}:0", data=value)
            activation = f"activation_{number}"
            file.create_group(activation).attrs["weight_names"] = []
            names += [name, activation]
        file.attrs["layer_names"] = [name.encode() for name in names]
    return path


@pytest.fixture(scope="module")
def h5(tmp_path_factory):
    return write_h5(tmp_path_factory.mktemp("openl3") / "openl3_audio_mel256_env.h5", layers())


def expected_mels(window: np.ndarray) -> np.ndarray:
    """[256, 199] of a window [48000]."""
    padded = np.concatenate([window.astype(np.float64), np.zeros(2048)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    frames = np.stack([padded[start : start + 2048] * hann for start in range(0, 48_000, 242)])
    magnitudes = np.abs(np.fft.rfft(frames))

    def to_mel(hz):
        return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4))

    marks = np.linspace(0, to_mel(np.array(24_000.0)), 258)
    edges = np.where(marks < 15, 200 * marks / 3, 1000 * np.exp((marks - 15) * np.log(6.4) / 27))
    bins = np.linspace(0, 24_000, 1025)
    banks = np.stack(
        [
            np.clip(np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)), 0, None) * 2 / (high - low)
            for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False)
        ]
    )
    decibels = 10 * np.log10(np.maximum(banks @ magnitudes.T, 1e-10))
    return np.maximum(decibels - decibels.max(), -80)


def expected_embedding(mels: np.ndarray, made) -> np.ndarray:
    x = mels[:, :, None]  # height, width, channels, as in Keras
    for number, (norm, conv) in enumerate(zip(made[::2], made[1::2], strict=True)):
        x = (x - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3) * norm["gamma"] + norm["beta"]
        if number:
            x = np.maximum(x, 0)
        if number in (2, 4, 6):
            high, wide = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x = np.max([x[i:high:2, j:wide:2] for i in (0, 1) for j in (0, 1)], axis=0)
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))  # [h, w, in, 3, 3]
        x = np.einsum("hwcij,ijco->hwo", windows, conv["kernel"], optimize=True) + conv["bias"]
    assert x.shape[:2] == (32, 24)
    return x.max((0, 1))


def test_front_end():
    window = signal(1.0, RATE)
    mels = log_mel(torch.stack([window, torch.zeros(RATE), 0.01 * window]))
    assert mels.shape == (3, 256, 199)
    close(mels[0], torch.from_numpy(expected_mels(window.numpy())), 2e-4)  # float32 below -60 dB
    assert (mels[1] == 0).all()  # silence has no loudest point
    close(mels[2], mels[0], 1e-3)  # the level does not matter


def test_windows_cover_the_clip_from_half_a_second_before_it():
    clip = torch.arange(1.0, 48_001)
    rows = cut(clip)
    assert rows.shape == (2, 48_000)
    assert (rows[0, :24_000] == 0).all() and torch.equal(rows[0, 24_000:], clip[:24_000])
    assert torch.equal(rows[1], clip)
    for length, count in ((1, 1), (24_000, 1), (24_001, 2), (442_367 * 160 // 147, 21), (480_000, 20)):
        rows = cut(torch.ones(length))
        assert len(rows) == count and rows[:, :24_000].sum() + rows[-1, 24_000:].sum() == length
    assert cut(torch.ones(2, 100_000)).shape == (5, 2, 48_000)


def test_embeddings_are_those_of_the_written_out_network(h5):
    clip = signal(1.0, RATE)
    found = load_openl3(str(h5), width=WIDTH)([clip])[0].embeddings
    expected = np.stack([expected_embedding(expected_mels(row.numpy()), layers()) for row in cut(clip)])
    close(found, torch.from_numpy(expected), 2e-4)


def test_behaves(h5):
    assert_behaves(load_openl3(str(h5), width=WIDTH), None)


def test_stereo_is_both_channels_side_by_side(h5):
    mono, stereo = load_openl3(str(h5), width=WIDTH), load_openl3(str(h5), width=WIDTH, stereo=True)
    left, right = signal(1.7, RATE), 0.3 * signal(1.7, RATE).flip(0)
    found = stereo([torch.stack([left, right]), torch.stack([left, left])])
    assert (stereo.name, stereo.dim, mono.dim) == ("openl3_stereo", 64, 32)
    rows = [features.embeddings for features in mono([left, right])]
    close(found[0].embeddings, torch.cat(rows, 1), 2e-5)
    close(found[1].embeddings, torch.cat([rows[0], rows[0]], 1), 2e-5)
    with pytest.raises(ValueError, match=r"openl3_stereo takes waveforms \[2, samples\]"):
        stereo([left])
    with pytest.raises(ValueError, match=r"openl3 takes waveforms \[samples\]"):
        mono([torch.stack([left, right])])


def test_every_form_of_the_weights_is_the_same_network(h5, tmp_path):
    from_h5 = read_openl3(h5)
    OpenL3(WIDTH).load_state_dict(from_h5)
    packed = tmp_path / "openl3_audio_mel256_env-v0_4_0.h5.gz"
    packed.write_bytes(gzip.compress(h5.read_bytes()))
    theirs = {"speclayer.mel_basis": torch.ones(2), "speclayer.dft_real_kernels": torch.ones(2)}
    for key, value in from_h5.items():
        kind, number, rest = key.split(".")
        name = f"{'conv2d' if kind == 'convs' else 'batch_normalization'}_{int(number) + 1}"
        theirs[f"{name.replace('conv2d_8', 'audio_embedding_layer')}.{rest}"] = value
    torch.save(theirs, tmp_path / "torchopenl3_mel256_env_512.pth.tar")
    assert openl3_files.main([str(packed), str(tmp_path / "openl3.safetensors")]) == 0
    assert set(load_file(tmp_path / "openl3.safetensors")) == set(from_h5)
    for name in (packed.name, "torchopenl3_mel256_env_512.pth.tar", "openl3.safetensors"):
        read = read_openl3(tmp_path / name)
        assert set(read) == set(from_h5) and all(torch.equal(read[key], from_h5[key]) for key in read), name


def test_wrong_files_are_named(h5, tmp_path, capsys):
    with pytest.raises(UserError, match=r"openl3 has no weights at ckpt.*fetch openl3_audio_mel256_env-v0_4_0.h5.gz"):
        load_extractor("openl3")
    with pytest.raises(UserError, match="does not fit this model: .* of another shape"):
        load_extractor("openl3_stereo", str(h5))
    with pytest.raises(UserError, match="holds 14 layers with weights; OpenL3 has 16"):
        read_openl3(write_h5(tmp_path / "short.h5", layers()[:-2]))
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(UserError, match="text.h5 is no file of Keras weights"):
        read_openl3(tmp_path / "text.h5")
    (tmp_path / "cut.h5.gz").write_bytes(gzip.compress(h5.read_bytes())[:-1000])
    with pytest.raises(UserError, match="cut.h5.gz cannot be read, or it is cut off"):
        read_openl3(tmp_path / "cut.h5.gz")
    save_file({f"{name}.weight": torch.ones(1) for name in LAYERS}, tmp_path / "half.safetensors")
    with pytest.raises(UserError, match=r"half.safetensors does not fit this model: \d+ keys missing"):
        load_extractor("openl3", str(tmp_path / "half.safetensors"))
    assert openl3_files.main([str(h5), str(tmp_path / "out.bin")]) == 2
    assert "must end in .safetensors" in capsys.readouterr().err and not (tmp_path / "out.bin").exists()


def test_a_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(openl3_files, "MOST_BYTES", 2**20)
    (tmp_path / "bomb.h5.gz").write_bytes(gzip.compress(bytes(2**21)))
    with pytest.raises(UserError, match="holds more than 1 MiB"):
        read_openl3(tmp_path / "bomb.h5.gz")


@pytest.mark.slow
def test_full_size(tmp_path):
    path = write_h5(tmp_path / "openl3.h5", layers(64))
    embeddings = load_extractor("openl3_stereo", str(path))([torch.stack([signal(0.4, RATE)] * 2)])[0].embeddings
    assert embeddings.shape == (1, 1024) and embeddings.isfinite().all()
