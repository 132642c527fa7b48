"""Cnn14 against goldens of panns_inference, and as an extractor at a tiny size."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from extractor_files import TINY_CNN14, assert_behaves, cnn14_state, signal
from helpers import close, golden

from soundctm.errors import UserError
from soundctm.evaluation.extractors.panns import CHANNELS, RELEASES, LogMel, load_panns
from soundctm.evaluation.extractors.registry import available, load_extractor

FRONT_ENDS = {"panns": (1024, 32_000, 14_000.0), "panns16": (512, 16_000, 8000.0)}
both = pytest.mark.parametrize("name", FRONT_ENDS)


def write(path, name: str, channels=TINY_CNN14, **options) -> str:
    """A file as published: the weights beside the state of the training's sampler."""
    state = cnn14_state(*FRONT_ENDS[name], channels)
    sampler = {"indexes": np.arange(5), "pointer": np.int64(3)}
    torch.save({"iteration": 600_000, "model": state, "sampler": sampler}, path, **options)
    return str(path)


def assert_golden(features, name: str, size: str) -> None:
    expected = golden("extractors")
    close(features.embeddings[0], expected[f"{name}.{size}.embeddings"], 5e-5)
    close(features.logits, expected[f"{name}.{size}.logits"], 5e-5)


@both
def test_front_end_is_the_official_one(name):
    release = RELEASES[name]
    front_end = LogMel(release.n_fft, release.hop)
    front_end.melW = cnn14_state(*FRONT_ENDS[name], TINY_CNN14)["logmel_extractor.melW"]
    close(front_end(signal(0.5, release.sampling_rate)[None])[0], golden("extractors")[f"{name}.log_mel"], 2e-5)


@both
@pytest.mark.parametrize("zipped", [True, False])
def test_tiny_gives_the_official_logits(name, zipped, tmp_path):
    path = write(tmp_path / "c.pth", name, _use_new_zipfile_serialization=zipped)
    extractor = load_panns(path, name=name, channels=TINY_CNN14)
    assert_golden(extractor([signal(0.5, extractor.sampling_rate)])[0], name, "tiny")


@both
def test_tiny(name, tmp_path):
    assert_behaves(load_panns(write(tmp_path / "c.pth", name), name=name, channels=TINY_CNN14), 527)


def test_files_of_an_older_numpy_are_read_and_code_is_not(tmp_path):
    path = tmp_path / "c.pth"
    write(path, "panns16", _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"numpy._core.multiarray" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert load_panns(str(path), name="panns16", channels=TINY_CNN14).dim == 16

    class Call:
        def __reduce__(self):
            return os.system, ("true",)

    torch.save({"model": cnn14_state(*FRONT_ENDS["panns"], TINY_CNN14), "sampler": Call()}, path)
    with pytest.raises(UserError, match="c.pth is refused: unpickling it would call .*system"):
        load_panns(str(path), channels=TINY_CNN14)


def test_wrong_files_are_named(tmp_path):
    other = write(tmp_path / "Cnn14.pth", "panns16")
    with pytest.raises(
        UserError, match=r"1 key of another shape \(logmel_extractor.melW is \[257, 64\], not \[513, 64\]"
    ):
        load_panns(other, channels=TINY_CNN14)
    with pytest.raises(UserError, match="of another shape"):
        load_extractor("panns16", other)
    torch.save(cnn14_state(*FRONT_ENDS["panns"], TINY_CNN14), tmp_path / "flat.pth")
    with pytest.raises(UserError, match="flat.pth has no entry 'model'"):
        load_extractor("panns", str(tmp_path / "flat.pth"))


@pytest.mark.slow
def test_full_size_gives_the_official_logits(tmp_path):
    extractor = load_extractor("panns", write(tmp_path / "c.pth", "panns", CHANNELS))
    assert_golden(extractor([signal(0.5, 32_000)])[0], "panns", "full")
    entry = next(entry for entry in available() if entry.name == "panns")
    assert (extractor.name, extractor.sampling_rate, extractor.dim) == (entry.name, entry.sampling_rate, entry.dim)
