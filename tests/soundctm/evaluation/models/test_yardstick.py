"""The yardstick: all labels with enough groups, folds that split none, silence on neither side, one row."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from soundctm.data.captions import hold_out, load_caption_table
from soundctm.data.corpus import DATA_FOLDER, CorpusRow, load_corpus
from soundctm.errors import UserError
from soundctm.evaluation.models.yardstick import labels as judging
from soundctm.evaluation.models.yardstick import run, sounds
from soundctm.evaluation.models.yardstick.run import YardstickOptions, line


def rows(label: str, groups: int, takes: int = 1) -> list[CorpusRow]:
    return [
        CorpusRow(f"clips/{label}_{g}_{k}.ogg", label, label, "train", f"p/{label}_{g}", "p", ())
        for g in range(groups)
        for k in range(takes)
    ]


class Items:
    """Items whose first sample tells the label, the second the group."""

    def from_row(self, row, index):
        name, group, _ = row.file_name.removeprefix("clips/").removesuffix(".ogg").split("_")
        return torch.tensor([float(ord(name[0])), float(group), 1.0]), row.caption, row.label


def test_all_labels_with_enough_groups_and_only_those():
    found = judging.judged_labels([*rows("a", 5), *rows("b", 4, 9), *rows("c", 6, 30)])
    assert list(found) == ["a", "c"] and len(found["a"]) == 5
    assert len(found["c"]) == judging.MOST and {row.group for row in found["c"][:6]} == {f"p/c_{g}" for g in range(6)}
    with pytest.raises(UserError, match="1 labels have 5 source groups"):
        judging.judged_labels([*rows("a", 5), *rows("b", 4)])
    corpus = load_corpus(DATA_FOLDER / "corpus.csv")
    assert len(judging.judged_labels(corpus)) > 50


def test_no_fold_splits_a_group():
    labels = judging.judged_labels([*rows("a", 7, 3), *rows("b", 5, 2)])
    features, targets, folds = judging.featured(labels, Items(), lambda waves: waves)
    for target in (0, 1):
        mine = targets == target
        for group in features[mine, 1].unique():
            assert len(folds[mine & (features[:, 1] == group)].unique()) == 1
        assert set(folds[mine].tolist()) == set(range(judging.FOLDS))


def test_accuracy_is_one_for_what_can_be_told_apart_and_chance_for_what_cannot():
    generator = torch.Generator().manual_seed(0)
    targets, folds = torch.arange(100) % 4, torch.arange(100) // 4 % judging.FOLDS
    apart = torch.nn.functional.one_hot(targets, 8).float() + 0.1 * torch.randn(100, 8, generator=generator)
    names = ("a", "b", "c", "d")
    assert judging.cross_validated((apart, targets, folds), names).mean == 1
    assert judging.judged((apart, targets, folds), apart.flip(0), targets.flip(0), names).mean == 1
    noise = torch.randn(100, 8, generator=generator)
    assert judging.cross_validated((noise, targets, folds), names).mean < 0.5
    part = judging.Accuracy({"a": 0.0, "b": 1.0, "c": 1.0, "d": 0.4})
    assert part.mean == pytest.approx(0.6) and part.bottom_quarter == 0


def test_captions_are_those_that_training_never_uses():
    table = load_caption_table()
    split = hold_out(table)
    found = judging.captions_of(list(table), table, "held_out")
    seen = judging.captions_of(list(table), table, "seen")
    for label in table:
        assert seen[label] in split[label].say
        assert (found[label] not in split[label].say) == (split[label].held_out is not None)


def test_silent_frames_count_on_neither_side():
    wave = torch.zeros(2, 40_960)
    wave[0, :16_000] = 0.3
    frames = [torch.arange(4.0)[:, None].repeat(1, 3)] * 2
    (heard,) = sounds.audible(frames, wave)
    assert heard[:, 0].tolist() == [0, 1, 2]  # from 0, 0.48 and 0.96 s; the second clip is silent


def test_distances_of_equal_sets_are_small_and_of_others_are_not():
    generator = torch.Generator().manual_seed(0)
    one, other = ([torch.randn(3, 8, generator=generator) for _ in range(40)] for _ in range(2))
    near, far = sounds.distances(one, other), sounds.distances(one, [clip + 1 for clip in other])
    for name in ("kad_yamnet_nonsilent", "fad_yamnet_nonsilent"):
        assert near[name]["value"] < far[name]["low"] < far[name]["value"] < far[name]["high"]


def test_levels_find_what_was_put_in():
    time = torch.arange(40_960) / 16_000
    tone = 0.1 * torch.sin(2 * np.pi * 500 * time)
    tone[16_000:] = 0
    quiet = sounds.levels(torch.stack([tone, 0.5 * tone, tone + 0.05]))
    assert quiet["loudness_db"][0] == pytest.approx(-23.0, abs=0.1)  # 0.1 / sqrt(2)
    assert quiet["loudness_db"][0] - quiet["loudness_db"][1] == pytest.approx(6.02, abs=0.05)
    assert quiet["seconds"][0] == pytest.approx(1.0, abs=0.02) and quiet["offset"][2] > 0.5 > 0.01 > quiet["offset"][0]
    apart = sounds.compared_levels(
        {"loudness_db": quiet["loudness_db"][:1]}, {"loudness_db": quiet["loudness_db"][1:2]}
    )
    assert apart["loudness_db"]["apart"] == pytest.approx(6.02, abs=0.05)


def test_one_command_gives_one_row(tmp_path, monkeypatch, capsys):
    """With a model and a network that hear the caption itself, the judge is right about every clip."""
    corpus = [*rows("dog", 5, 2), *rows("rain", 6), *rows("cat", 2)]
    for k in range(0, len(corpus), 3):
        corpus[k] = CorpusRow(*[*vars(corpus[k]).values()][:3], "test", *[*vars(corpus[k]).values()][4:])

    def sound(label: str, number: int) -> torch.Tensor:
        noise = torch.randn(run.NUM_SAMPLES, generator=torch.Generator().manual_seed(number))
        return (0.2 if "dog" in label or "pup" in label else 0.02) * noise

    class Corpus:
        def __init__(self, *args, **kwargs):
            pass

        def from_row(self, row, index):
            return sound(row.label, len(row.file_name)), row.caption, row.label

    class Pipeline:
        @classmethod
        def from_pretrained(cls, *args, **kwargs):
            return cls()

        def set_progress_bar_config(self, disable):
            pass

        def __call__(self, captions, steps, *, omega, seed):
            made = torch.stack([sound(caption, number) for caption, number in zip(captions, seed, strict=True)])
            return type("Out", (), {"audios": made.numpy()})

    class Net:
        weights_hash = "none"

        def __call__(self, waves):
            frames = waves[:, : 4 * 7680].reshape(len(waves), 4, 7680)
            return torch.stack([frames.std(2), frames.abs().amax(2), frames.mean(2)], 2), None

    monkeypatch.setattr(run, "load_corpus", lambda *_: corpus)
    monkeypatch.setattr(run, "present_rows", lambda found, _: found)
    monkeypatch.setattr(run, "ComposedCorpus", Corpus)
    monkeypatch.setattr(run, "SoundCTMPipeline", Pipeline)
    monkeypatch.setattr(run, "load_yamnet", Net)
    output = tmp_path / "row.json"
    found = run.measure(YardstickOptions(seeds=2, clips=3, output=str(output), device="cpu"))
    assert found["labels"] == 2 and found["accuracy"] == found["real"] == 1.0
    assert len(found["accuracy_of_seeds"]) == len(found["distances_of_seeds"]) == 2
    assert found["test_clips"] == sum(row.split == "test" for row in corpus)
    assert json.loads(output.read_text())["share_of_real"] == 1.0
    assert capsys.readouterr().out.strip() == line(found)
    with pytest.raises(UserError, match="seeds is 0"):
        YardstickOptions(seeds=0)
