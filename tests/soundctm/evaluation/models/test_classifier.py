"""The classifier of clips, the classes, their folds, and the command around them, with a stand-in for YAMNet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundctm.data.corpus import DATA_FOLDER, CorpusRow, load_corpus
from soundctm.evaluation.models import class_accuracy
from soundctm.evaluation.models.classes import CLASSES, NAMES, class_of, group_folds, rows_by_class
from soundctm.evaluation.models.classifier import LinearClassifier, clip_features, per_class_accuracy

TABLE = load_corpus(DATA_FOLDER / "corpus.csv")


class SpectrumNet:
    """As YAMNet to its callers: embeddings are coarse spectra of half seconds, class 0 is heard everywhere."""

    class_names = ["Dog", *(f"other {i}" for i in range(9))]
    weights_hash = "none"

    def __call__(self, waveforms: torch.Tensor):
        frames = waveforms[:, : waveforms.shape[1] // 8192 * 8192].reshape(len(waveforms), -1, 8192)
        embeddings = torch.fft.rfft(frames).abs()[..., :4096].reshape(*frames.shape[:2], 64, 64).mean(3).log1p()
        logits = torch.zeros(*frames.shape[:2], 10)
        logits[..., 0] = 1.0
        return embeddings, logits


def test_separable_classes_are_learned_and_balanced():
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor([0] * 200 + [1] * 20 + [2] * 20)
    features = torch.randn(240, 30, generator=generator)
    features[torch.arange(240), targets] += 4
    classifier = LinearClassifier(3).fit(features[::2], targets[::2])
    accuracy = per_class_accuracy(classifier.predict(features[1::2]), targets[1::2], ("a", "b", "c"))
    assert set(accuracy) == {"a", "b", "c"} and min(accuracy.values()) > 0.7


def test_fit_is_deterministic():
    features = torch.randn(40, 10, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(40) % 4
    first, second = (LinearClassifier(4).fit(features, targets) for _ in range(2))
    assert torch.equal(first.weight, second.weight)


def test_per_class_accuracy_leaves_out_absent_classes():
    assert per_class_accuracy(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), ("a", "b", "c")) == {"a": 0.5, "b": 1.0}


def test_features_are_per_clip():
    waveforms = torch.randn(5, 40960, generator=torch.Generator().manual_seed(0))
    features, probabilities = clip_features(SpectrumNet(), waveforms, batch_size=2)
    assert features.shape == (5, 64) and probabilities.shape == (5, 10)
    torch.testing.assert_close(features[3:4], clip_features(SpectrumNet(), waveforms[3:4])[0])


def test_twenty_classes_with_clips():
    assert len(NAMES) == len(set(NAMES)) == 20
    for name, members in rows_by_class(TABLE).items():
        assert len({row.group for row in members}) >= 2, name
    assert class_of(CorpusRow("x", "a horse making a distressed call", "horse", "train", "g", "p", ())) is None


def test_folds_keep_groups_whole_and_classes_spread():
    folds = group_folds(TABLE, 5)
    seen = [{row.group for row in fold} for fold in folds]
    assert sum(len(groups) for groups in seen) == len(set().union(*seen))
    for sound_class in CLASSES:
        members = [sum(class_of(row) == sound_class.name for row in fold) for fold in folds]
        assert sum(count > 0 for count in members) >= 2, sound_class.name


def test_prompts_cover_the_classes_evenly():
    with (DATA_FOLDER / "class_prompts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for name in NAMES:
        mine = [row["caption"] for row in rows if row["label"] == name]
        assert len(mine) == 10 and len(set(mine)) >= 6, name
    assert len({row["file_name"] for row in rows}) == len(rows) == 200


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Two recordings of every class: tones of one pitch per class."""
    root = tmp_path / "corpus"
    (root / "clips").mkdir(parents=True)
    time = np.arange(16000) / 16000
    with (root / "corpus.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "caption", "label", "split", "group", "package", "yamnet_top3"])
        for number, sound_class in enumerate(CLASSES):
            for take in range(3):
                name = f"clips/{number}_{take}.ogg"
                tone = 0.4 * np.sin(2 * np.pi * (200 + 150 * number + 2 * take) * time)
                soundfile.write(root / name, tone, 16000)
                caption = (sound_class.captions or ("a sound",))[0]
                split = "test" if take == 2 else "train"
                writer.writerow([name, caption, sound_class.labels[0], split, f"{number}/{take}", "p", "Music"])
    return root


def test_command(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(class_accuracy, "load_yamnet", SpectrumNet)
    monkeypatch.setattr(class_accuracy, "ITEMS_PER_CLASS", 4)
    monkeypatch.setattr(class_accuracy, "ITEMS_PER_FOLD", 3)
    out = tmp_path / "out"
    out.mkdir()
    time = np.arange(40960) / 16000
    lines = ["file_name,caption,label"]
    for number, name in enumerate(NAMES[:4]):
        pitch = 200 + 150 * (number if number != 3 else 9)  # the fourth clip sounds like another class
        soundfile.write(out / f"c{number}_0.wav", 0.4 * np.sin(2 * np.pi * pitch * time), 16000)
        lines.append(f"c{number}.wav,x,{name}")
    (tmp_path / "prompts.csv").write_text("\n".join(lines))
    arguments = ["--corpus", str(corpus), "--generated", str(out), "--prompts", str(tmp_path / "prompts.csv")]
    arguments += ["--output", str(tmp_path / "report.json")]
    assert class_accuracy.main(arguments) == 0
    printed = capsys.readouterr().out
    assert f"generated {out}: accuracy 0.750" in printed and "real_cross_validation: accuracy" in printed
    report = json.loads((tmp_path / "report.json").read_text())
    assert report[f"generated {out}"]["per_class"] == {"dog": 1.0, "bird": 1.0, "cow": 1.0, "sheep": 0.0}
    assert report[f"generated {out}"]["heard"] == pytest.approx(0.25)  # the stand-in always hears a dog
    assert report["real_test"]["accuracy"] > 0.7 and report["real_cross_validation"]["accuracy"] > 0.7
    (out / "c2_0.wav").unlink()
    assert class_accuracy.main(arguments) == 2
    assert "lacks 1 of the clips" in capsys.readouterr().err


def test_wrong_prompts_are_explained(corpus, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("file_name,caption,label\na.wav,x,unicorn\n")
    with pytest.raises(class_accuracy.UserError, match="no row has a label of the classes dog"):
        class_accuracy.generated_clips(tmp_path, path, SpectrumNet())
    path.write_text("file_name,caption\na.wav,x\n")
    with pytest.raises(class_accuracy.UserError, match="no column 'label'"):
        class_accuracy.generated_clips(tmp_path, path, SpectrumNet())
