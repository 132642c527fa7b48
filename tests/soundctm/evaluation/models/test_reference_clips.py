"""Real clips to compare with, from the table `data/test_captions.csv`."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
from evaluation_sounds import sound

from soundctm.data.corpus import DATA_FOLDER, load_corpus
from soundctm.errors import UserError
from soundctm.evaluation.models.reference_clips import TABLE, choose, corpus_items, main, read_table, write_clips
from soundctm.evaluation.models.reference_clips import write_table as write_reference_table

CORPUS = load_corpus(DATA_FOLDER / "corpus.csv")
COLUMNS = ("file_name", "caption", "label", "split", "group", "package", "yamnet_top3")


def build_corpus(root: Path, files: set[str] | None = None) -> Path:
    """The corpus table of the repository with synthetic sounds for the test clips, all or those of `files`."""
    (root / "clips").mkdir(parents=True)
    with (root / "corpus.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, row in enumerate(CORPUS):
            if row.split == "test" and (files is None or row.file_name in files):
                values = dataclasses.asdict(row)
                writer.writerow([*(values[name] for name in COLUMNS[:-1]), "|".join(row.heard)])
                soundfile.write(root / row.file_name, sound(number, seconds=0.3), 16000)
    return root


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return build_corpus(tmp_path_factory.mktemp("corpus") / "corpus")


def test_the_table_of_the_repository():
    """100 items: test clips only, each once, every label that has test clips, none of them often."""
    table = read_table(TABLE)
    splits = {row.file_name: row.split for row in CORPUS}
    assert len({clip.file_name for clip in table}) == len({clip.clip for clip in table}) == len(table) == 100
    assert {splits[clip.clip] for clip in table} == {"test"} and all(clip.caption for clip in table)
    labels = {row.label for row in CORPUS if row.split == "test"}
    counts = {label: sum(clip.label == label for clip in table) for label in labels}
    assert min(counts.values()) >= 1 and max(counts.values()) <= 3


def test_the_table_is_what_choosing_gives(corpus):
    """With other sounds the captions differ (they depend on the length of a clip), the clips do not."""
    chosen, table = choose(corpus_items(corpus), 100), read_table(TABLE)
    assert [(c.file_name, c.label, c.clip) for c in chosen] == [(c.file_name, c.label, c.clip) for c in table]


@pytest.mark.skipif(not (DATA_FOLDER / "corpus" / "corpus.csv").is_file(), reason="the corpus was not built")
def test_the_captions_are_those_of_the_items():
    items, table = corpus_items(DATA_FOLDER / "corpus"), read_table(TABLE)
    rows = {row.file_name: row for rows in items.labels.values() for row in rows}
    for clip in table[:10]:
        assert items.from_row(rows[clip.clip], 0)[1] == clip.caption


def test_command(corpus, tmp_path, caplog):
    table = tmp_path / "table.csv"
    arguments = ["--corpus", str(corpus), "--captions", str(table), "--output_dir"]
    assert main([*arguments, str(tmp_path / "a"), "--choose", "5"]) == 0
    wavs = sorted((tmp_path / "a").iterdir())
    assert [path.name for path in wavs] == [clip.file_name for clip in read_table(table)]
    for path in wavs:
        wave, rate = soundfile.read(path)
        assert rate == 16000 and len(wave) == 40960 and np.abs(wave).max() == pytest.approx(0.5, abs=1e-3)
    assert main([*arguments, str(tmp_path / "b")]) == 0
    assert all(path.read_bytes() == (tmp_path / "b" / path.name).read_bytes() for path in wavs)


def test_a_part_of_the_corpus_gives_a_part_of_the_clips(tmp_path):
    table = read_table(TABLE)
    items = corpus_items(build_corpus(tmp_path / "corpus", {clip.clip for clip in table[:3]}))
    assert write_clips(items, table, tmp_path / "out") == 3
    with pytest.raises(UserError, match="holds none of the clips of the table"):
        write_clips(items, table[3:], tmp_path / "none")


def test_what_is_wrong_is_said(corpus, tmp_path, capsys):
    with pytest.raises(UserError, match="fewer than 1000"):
        choose(corpus_items(corpus), 1000)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.wav").touch()
    with pytest.raises(UserError, match="holds other sounds .mine.wav."):
        write_clips(corpus_items(corpus), read_table(TABLE), out)
    with pytest.raises(UserError, match="no table of reference clips"):
        read_table(tmp_path / "absent.csv")
    write_reference_table(tmp_path / "t.csv", read_table(TABLE)[:2])
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text().replace("caption", "text", 1))
    with pytest.raises(UserError, match="has no column 'caption'"):
        read_table(tmp_path / "t.csv")
    assert main(["--corpus", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: no corpus table at")


@pytest.mark.parametrize("name", ["../../out.wav", "/tmp/out.wav", "a/../../out.wav"])
def test_a_name_that_leads_out_is_refused_before_a_clip_is_written(corpus, tmp_path, name):
    table = read_table(TABLE)[:2]
    table.append(dataclasses.replace(table[0], file_name=name))
    with pytest.raises(UserError, match="leads out of its folder|is an absolute path"):
        write_clips(corpus_items(corpus), table, tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("*.wav"))
