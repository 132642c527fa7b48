"""VGGish against goldens of torchvggish, and as an extractor at a tiny size."""

from __future__ import annotations

import pytest
import torch
from extractor_files import assert_behaves, signal, vggish_state
from helpers import close, golden

from soundctm.errors import UserError
from soundctm.evaluation.extractors.registry import available, load_extractor
from soundctm.evaluation.extractors.vggish import ONE_PATCH, load_vggish, log_mel_patches

TINY = {"width": 2, "hidden": 8, "dim": 4}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "vggish-10086976.pth"
    torch.save(vggish_state(**TINY), path)
    return path


def test_front_end_is_the_official_one():
    close(log_mel_patches(signal(2.3, 16_000)), golden("extractors")["vggish.log_mel"], 2e-5)


def test_tiny(file):
    assert_behaves(load_vggish(str(file), **TINY), None)


def test_patches_do_not_overlap_and_the_rest_is_dropped(file):
    extractor = load_vggish(str(file), **TINY)
    for samples, patches in ((100, 1), (ONE_PATCH, 1), (ONE_PATCH + 15_359, 1), (ONE_PATCH + 15_360, 2), (160_000, 10)):
        assert extractor([torch.zeros(samples)])[0].embeddings.shape == (patches, 4)
    sound = signal(4.0, 16_000)
    second = extractor([sound[15_360 : 15_360 + ONE_PATCH]])[0].embeddings
    close(extractor([sound])[0].embeddings[1:2], second, 2e-5)


def test_wrong_files_are_named(file):
    with pytest.raises(UserError, match=r"vggish-10086976.pth does not fit .* of another shape \(features.0.weight"):
        load_extractor("vggish", str(file))
    state = vggish_state(**TINY)
    state["pproc.pca_means"] = state.pop("embeddings.4.bias")
    torch.save(state, file)
    with pytest.raises(UserError, match=r"1 key missing \(embeddings.4.bias\); 1 key not expected \(pproc.pca_means\)"):
        load_vggish(str(file), **TINY)


@pytest.mark.slow
def test_full_size_gives_the_official_embeddings(tmp_path):
    path = tmp_path / "v.pth"
    torch.save(vggish_state(), path)
    extractor = load_extractor("vggish", str(path))
    close(extractor([signal(2.3, 16_000)])[0].embeddings, golden("extractors")["vggish.embeddings"], 2e-5)
    entry = next(entry for entry in available() if entry.name == "vggish")
    assert (extractor.name, extractor.sampling_rate, extractor.dim) == (entry.name, entry.sampling_rate, entry.dim)
