"""Two folders to a report, with an extractor that needs no weights."""

from __future__ import annotations

import functools
import json
import shutil

import pytest
import soundfile
from evaluation_sounds import SpectrumExtractor, register, sound, write_folder

from soundctm.errors import UserError
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.folders.evaluate import evaluate
from soundctm.evaluation.folders.metrics import halves
from soundctm.evaluation.folders.options import EvaluationOptions
from soundctm.evaluation.models import class_accuracy


@pytest.fixture(autouse=True)
def spectrum(tmp_path, monkeypatch):
    """The registry knows `spectrum`, and `clap` is an extractor without classes."""
    clap = functools.partial(SpectrumExtractor, "clap", pooled=True)
    register(monkeypatch, tmp_path, {"spectrum": SpectrumExtractor, "clap": clap})


@pytest.fixture
def folders(tmp_path):
    return write_folder(tmp_path / "real", 24), write_folder(tmp_path / "made", 24, take=1)


def report_of(reference, generated, *metrics, **settings):
    settings = {"extractors": ("spectrum",)} | settings
    given = EvaluationOptions(
        str(generated), None if reference is None else str(reference), metrics=metrics, **settings
    )
    return evaluate(given)


def test_identical_folders(folders, tmp_path):
    copy = shutil.copytree(folders[0], tmp_path / "copy")
    report = report_of(folders[0], copy, "fad", "kad", "kl", "is")
    assert report["FAD-Spectrum"].value == pytest.approx(0, abs=1e-6)
    assert report["KL-Spectrum"].value == pytest.approx(0, abs=1e-4)
    assert report["IS-Spectrum"].value == report["IS-Spectrum"].real.value
    assert -5e-4 < report["KL-Spectrum"].value < 0 and "-0.000" not in report.table()


def test_every_metric_tells_noise_from_sounds(folders, tmp_path):
    def noise(wave, rng):
        return 0.3 * rng.standard_normal(len(wave)).clip(-3, 3)

    noisy = write_folder(tmp_path / "noise", 24, change=noise)
    metrics = ("fad", "fad_inf", "kad", "kl", "is")
    good, bad = (report_of(folders[0], folder, *metrics) for folder in (folders[1], noisy))
    for result in good.results:
        worse = bad[result.metric].value
        assert worse > 2 * abs(result.value) if result.lower_is_better else worse < result.value, result.metric


def test_a_report_says_how_it_was_obtained(folders, tmp_path):
    real, made = folders
    (made / "c00.wav").rename(made / "other.wav")
    report = report_of(real, made, "fad", "kl", seed=3)
    report.save(tmp_path / "report.jsonl")
    fad, kl = map(json.loads, (tmp_path / "report.jsonl").read_text().splitlines())
    assert fad["metric"] == "FAD-Spectrum" and fad["extractor"] == "spectrum" and fad["better"] == "lower"
    assert fad["low"] <= fad["value"] <= fad["high"] and fad["level"] == 0.95
    assert fad["weights_sha256"] == registry.weights_hash("spectrum")
    assert "sinc_interp_kaiser" in fad["resampler"] and fad["channel"] == "first" and fad["seed"] == 3
    assert fad["n_reference"] == fad["n_generated"] == 24 and fad["pairing"] is None
    assert fad["reference_clips"] == {
        "clips": 24,
        "seconds": 24.0,
        "median_seconds": 1.0,
        "silent": [],
        "beyond_full_scale": [],
        "same_content": [],
        "unreadable": [],
    }
    assert fad["real"]["of"] == "two disjoint halves of the reference, 12 clips each" and fad["real"]["value"] > 0
    assert fad["versions"]["libraries"].startswith("libsndfile") and fad["time"].startswith("20")
    assert kl["n_generated"] == 23 and kl["real"] is None
    assert kl["pairing"] == {
        "by": "file name without ending",
        "pairs": 23,
        "unmatched_first": 1,
        "unmatched_generated": 1,
        "unmatched_names": ["c00.wav", "other.wav"],
    }
    table = report.table()
    assert "KL-Spectrum: 23 pairs by name; 1 real without partner (c00.wav)" in table
    assert "FAD-Spectrum, real clips: two disjoint halves" in table
    with pytest.raises(KeyError, match="there are FAD-Spectrum, KL-Spectrum"):
        report["FAD-VGGish"]


def rounded(value):
    """Nine digits of all numbers: FAD-inf from computed and from cached features can differ by 3e-15 (seen)."""
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_the_same_again_and_another_seed(folders):
    first, second = (report_of(*folders, "kl", "fad_inf", seed=1).lines() for _ in range(2))
    for line in (*first, *second):
        del line["time"], line["seconds"]
    assert rounded(first) == rounded(second)
    other = report_of(*folders, "kl", "fad_inf", seed=2)
    assert (other["KL-Spectrum"].value, other["KL-Spectrum"].score.low) != (first[0]["value"], first[0]["low"])
    assert other["KL-Spectrum"].value == first[0]["value"] and other["FAD-inf-Spectrum"].value != first[1]["value"]


def test_few_embeddings_are_said_to_be_few(tmp_path):
    real, made = (write_folder(tmp_path / name, 3, take=take) for take, name in enumerate(("real", "made")))
    report = report_of(real, made, "fad")
    assert report["FAD-Spectrum"].score.details["singular"]
    assert "15 embeddings are no more than their 16 dimensions" in report.table()


def test_names_in_common_are_needed_for_pairs_alone(folders):
    real, made = folders
    for path in sorted(made.iterdir()):
        path.rename(made / f"x{path.name}")
    assert report_of(real, made, "fad", "is")["FAD-Spectrum"].value > 0
    with pytest.raises(UserError, match=r"kl compares clips of one name.*xc00.wav.*c00.wav"):
        report_of(real, made, "kl")


def test_samples_per_caption_pair_with_their_reference(folders):
    real, made = folders
    for number in range(3):
        soundfile.write(made / f"c00_{number}.wav", sound(0, take=2 + number), 16000)
    (made / "c00.wav").unlink()
    assert report_of(real, made, "kl")["KL-Spectrum"].score.n_generated == 26


def test_without_reference(folders):
    report = report_of(None, folders[1], "is")
    assert report["IS-Spectrum"].real is None and report.lines()[0]["reference_clips"] is None


def test_clap_score(folders, tmp_path):
    captions = tmp_path / "captions.csv"
    captions.write_text("file_name,caption\nc00.wav,a chord\nc01.wav,a chirp\nabsent.wav,nothing\n")
    report = report_of(None, folders[1], "clap", captions=str(captions))
    result = report["CLAP score"]
    assert -1 <= result.value <= 1 and result.extractor == "clap" and result.score.n_generated == 2
    assert result.pairing.unmatched_first == ("absent.wav",)
    captions.write_text("caption\na chord\n")
    with pytest.raises(UserError, match="needs a column file_name"):
        report_of(None, folders[1], "clap", captions=str(captions))


def test_extractors_without_classes(folders):
    report = report_of(*folders, "fad", "is", extractors=("spectrum", "clap"))
    assert [result.metric for result in report.results] == ["FAD-Spectrum", "FAD-Clap", "IS-Spectrum"]
    with pytest.raises(UserError, match="kl needs classes, which clap do not give; --extractors can be yamnet"):
        report_of(*folders, "kl", extractors=("clap",))


def test_class_accuracy_is_a_metric(folders, monkeypatch):
    part = {"accuracy": 0.5, "heard": 0.25, "clips": 4, "classes": 2, "per_class": {"dog": 1.0, "cat": 0.0}}
    calls = []

    def classify(corpus, generated, prompts, cross_validation):
        calls.append((str(corpus), prompts, cross_validation))
        return {"yamnet": "hash", "real_test": part | {"accuracy": 0.75}, f"generated {generated[0]}": part}

    monkeypatch.setattr(class_accuracy, "evaluate", classify)
    report = report_of(None, folders[1], "class_accuracy", corpus="some/corpus", quick=True)
    result = report["class accuracy"]
    assert (result.value, result.real.value, result.score.n_generated) == (0.5, 0.75, 4)
    assert result.score.details["accuracy of dog"] == 1.0 and calls == [("some/corpus", None, False)]
    assert "class accuracy, real clips: test clips of the corpus" in report.table()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"generated_dir": None}, "give --generated_dir"),
        ({"generated_dir": "no/folder"}, "no folder of generated clips at no/folder"),
        ({"reference_dir": "no/folder"}, "no folder of reference clips at no/folder"),
        ({"reference_dir": None}, "fad, kl compare with real clips: give --reference_dir"),
        ({"metrics": ("fad", "speed")}, "no metric 'speed'; known are fad"),
        ({"metrics": ()}, "at least one"),
        ({"metrics": ("fad", "fad")}, "none twice"),
        ({"extractors": ("vgg",)}, "no extractor 'vgg'"),
        ({"metrics": ("clap",)}, "give --captions"),
        ({"captions": "x.csv"}, "--captions is for the metric clap"),
        ({"output": "report.yaml"}, "output is report.yaml; the report is JSON lines"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"device": "abacus"}, "abacus"),
        ({"weights": ("spectrum",)}, "must read NAME=PATH"),
    ],
)
def test_what_is_wrong_is_said(folders, settings, says):
    given = {"reference_dir": str(folders[0]), "generated_dir": str(folders[1]), "extractors": ("spectrum",)} | settings
    with pytest.raises(UserError, match=says):
        evaluate(EvaluationOptions(**given))


def test_halves_are_disjoint_and_move_little():
    names = [f"{i}.wav" for i in range(41)]
    first, second = halves(names, seed=0)
    assert len(first) == len(second) == 20 and not set(first) & set(second)
    assert halves(names, seed=0) == (first, second) != halves(names, seed=1)
    larger = halves([*names, "one more.wav"], seed=0)[0]
    assert len(set(first) & set(larger)) >= 19
