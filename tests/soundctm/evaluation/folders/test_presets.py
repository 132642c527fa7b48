"""The scores of published tables from two folders, with tiny networks in place of the published ones."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from evaluation_sounds import write_folder
from extractor_files import TINY_PASST, passt_state

from soundctm.errors import UserError
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.extractors.clap import load_clap
from soundctm.evaluation.extractors.openl3 import load_openl3
from soundctm.evaluation.extractors.passt import load_passt
from soundctm.evaluation.folders.evaluate import evaluate
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.evaluation.folders.presets import PRESETS
from soundctm.evaluation.folders.run import parse_options
from tests.soundctm.evaluation.extractors import test_clap, test_openl3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    test_openl3.write_h5(folder / "openl3.h5", test_openl3.layers())
    torch.save(passt_state(**TINY_PASST), folder / "passt.pt")
    test_clap.write(folder / "clap", False)
    return folder


@pytest.fixture
def tiny(files, monkeypatch):
    """The registry's own entries, of which only the size of the networks differs."""
    loads = {
        "openl3": lambda path, device: load_openl3(path, device, width=test_openl3.WIDTH),
        "openl3_stereo": lambda path, device: load_openl3(path, device, stereo=True, width=test_openl3.WIDTH),
        "passt_windows": lambda path, device: load_passt(path, device, overlapping=True, **TINY_PASST),
        "clap630k": lambda path, device: load_clap(path, device, "clap630k"),
    }
    for name, load in loads.items():
        monkeypatch.setitem(registry.ENTRIES, name, dataclasses.replace(registry.entry(name), load=load))
    return (f"openl3={files / 'openl3.h5'}", f"passt={files / 'passt.pt'}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    real, made = write_folder(folder / "real", 6), write_folder(folder / "made", 6, take=1)
    rows = "".join(f"c{number:02d},a dog barks\n" for number in range(6))
    (folder / "clap_test.csv").write_text("audiocap_id,caption\n" + rows)
    return real, made, folder / "clap_test.csv"


def test_the_scores_of_the_44_khz_paper(files, tiny, folders, tmp_path):
    """By the names that its own script has."""
    real, made, captions = folders
    options = parse_options(
        ["--preset", "dit", "--reference_dir", str(real), "--generated_dir", str(made), "--device", "cpu"]
        + ["--reference_path_acid", str(captions), "--clap_model_path", str(files / "clap")]
        + [part for item in tiny for part in ("--weights", item)]
    )
    report = evaluate(options)
    assert [result.metric for result in report.results] == [
        "FD-OpenL3-mono",
        "CLAP score-630k",
        "KL-reverse-PaSST-windows",
        "FD-CLAP-630k",
        "MMD-CLAP-630k",
    ]
    lines = {line["metric"]: line for line in map(json.loads, map(json.dumps, report.lines()))}
    fd, score, kl = lines["FD-OpenL3-mono"], lines["CLAP score-630k"], lines["KL-reverse-PaSST-windows"]
    assert fd["weights_sha256"] == registry.sha256([files / "openl3.h5"]) and fd["sampling_rate"] == 48_000
    assert fd["resampler"].endswith("by way of 44100 Hz") and fd["channel"] == "mean of all"
    assert fd["windows"].startswith("1 s every 0.5 s") and fd["details"]["dimension"] == 32
    assert fd["details"]["generated_rows"] == 6 * 2 and fd["pairing"] is None
    assert kl["windows"] == "10 s every 5 s, zero-padded; logits averaged" and kl["pairing"]["pairs"] == 6
    assert score["level_of_clips"] == "peak -1 dB after resampling, through 16-bit samples"
    assert score["pairing"]["pairs"] == 6 and -1 <= score["value"] <= 1
    assert all(lines[name]["value"] > 0 for name in ("FD-OpenL3-mono", "FD-CLAP-630k", "MMD-CLAP-630k"))


def test_stereo_of_mono_clips_is_twice_the_mono_distance(tiny, folders):
    """Both channels move together: means and covariances repeat, and so does the distance."""
    real, made, _ = folders
    common = {"reference_dir": str(real), "generated_dir": str(made), "weights": tiny, "device": "cpu"}
    stereo = evaluate(EvaluationOptions(preset="stable_audio", **common))
    mono = evaluate(EvaluationOptions(metrics=("fd", "fad"), extractors=("openl3",), **common))
    assert mono["FD-OpenL3-mono"].value == mono["FAD-OpenL3-mono"].value > 0
    assert stereo["FD-OpenL3-stereo"].value == pytest.approx(2 * mono["FD-OpenL3-mono"].value, rel=1e-2)
    both = evaluate(EvaluationOptions(metrics=("kl", "kl_reverse"), extractors=("passt_windows",), **common))
    assert both["KL-reverse-PaSST-windows"].value == stereo["KL-reverse-PaSST-windows"].value
    assert both["KL-PaSST-windows"].value != both["KL-reverse-PaSST-windows"].value


def test_presets_name_what_there_is():
    for pairs in PRESETS.values():
        assert len(set(pairs)) == len(pairs)
        for _, extractor in pairs:
            assert registry.entry(extractor).name == extractor


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"preset": "dit", "metrics": ("fad",)}, "leave out --metrics and --extractors"),
        ({"preset": "dit", "extractors": ("vggish",)}, "leave out --metrics and --extractors"),
        ({"preset": "dit"}, "the metric clap compares with captions"),
        ({"preset": "unet", "captions": "x.csv"}, "--preset does not name"),
        ({"clap_model_path": "a", "weights": ("clap630k=b",)}, "are the same; give one"),
    ],
)
def test_what_contradicts_a_preset(folders, settings, match):
    with pytest.raises(UserError, match=match):
        EvaluationOptions(reference_dir=str(folders[0]), generated_dir=str(folders[1]), **settings)


def test_the_paper_names_a_model_without_fusion(tmp_path):
    fused = test_clap.write(tmp_path, True)
    assert load_clap(str(fused)).name == "clap"
    with pytest.raises(UserError, match="feature fusion; clap630k is one without"):
        load_clap(str(fused), name="clap630k")
    with pytest.raises(UserError, match="fetch the files of laion/clap-htsat-unfused .* into ckpt/extractors/clap630k"):
        load_clap(name="clap630k")
