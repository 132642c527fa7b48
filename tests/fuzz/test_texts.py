"""Damaged tables, configurations and lists."""

import json
import shutil

import pytest
import yaml
from fuzz.mutations import mutated_bytes, mutated_values
from fuzz.watching import cases, fuzz

from soundctm.config import load_config
from soundctm.data.captions import load_caption_table
from soundctm.data.clip_latents import HashIndex
from soundctm.data.corpus import DATA_FOLDER, load_corpus
from soundctm.data.tables import read_captions
from soundctm.distillation.config import DistillationConfig
from soundctm.files.reading import read_json, read_yaml

CONFIG = {"seed": 3, "report_to": "none", "corpus": "a", "items": 16, "mixed_precision": "no", "lr": 1e-4}
TABLE = 'file_name,caption\na/1.wav,"a bird, singing"\nb.wav,rain\n"c.wav","a ""loud"" bang"\nd.wav,wind \xe9\n'


def text(path, good):
    """Writes `good`, and gives what writes its damaged forms."""
    path.write_bytes(good)
    return lambda rng: path.write_bytes(mutated_bytes(good, rng))


def values(path, good):
    """What writes damaged forms of the value `good` as YAML."""
    return lambda rng: path.write_text(yaml.safe_dump(mutated_values(good, rng)))


@cases
def test_caption_tables(cases, tmp_path):
    write = text(tmp_path / "a.csv", TABLE.encode())
    fuzz(cases, "captions", tmp_path, write, lambda: read_captions(tmp_path / "a.csv", ("file_name", "caption")))


@cases
@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_values(kind, cases, tmp_path):
    good = (json.dumps if kind == "json" else yaml.safe_dump)({"a": [1, 2.5, None], "b": {"c": "x\u00e9", "d": True}})
    write, read = text(tmp_path / "a", good.encode()), read_json if kind == "json" else read_yaml
    fuzz(cases, kind, tmp_path, write, lambda: read(tmp_path / "a"))


@cases
@pytest.mark.parametrize("deep", [False, True], ids=["bytes", "values"])
def test_configurations(deep, cases, tmp_path):
    path = tmp_path / "a.yaml"
    good = {name: value for name, value in CONFIG.items() if name in DistillationConfig.__dataclass_fields__}
    write = text(path, yaml.safe_dump(good).encode())
    if deep:
        write = values(path, good)
    fuzz(cases, f"config {deep}", tmp_path, write, lambda: load_config(DistillationConfig, path))


@cases
@pytest.mark.parametrize("deep", [False, True], ids=["bytes", "values"])
def test_tables_of_phrases(deep, cases, tmp_path):
    path = tmp_path / "captions.yaml"
    good = {
        "dog": {"say": ["a dog barks", "barking"], "many": ["dogs"], "captions": {"woof": ["a woof"]}, "own": False},
        "rain": {"say": ["rain"], "style": "texture", "period": [0.5, 2], "heard": ["Rain"]},
    }
    write = text(path, yaml.safe_dump(good).encode())
    if deep:
        write = values(path, good)
    fuzz(cases, f"phrases {deep}", tmp_path, write, lambda: load_caption_table(path))


@cases
def test_corpus_tables(cases, tmp_path):
    lines = (DATA_FOLDER / "corpus.csv").read_bytes().splitlines(keepends=True)[:6]
    write = text(tmp_path / "corpus.csv", b"".join(lines))
    fuzz(cases, "corpus", tmp_path, write, lambda: load_corpus(tmp_path))


@cases
def test_lists_of_hashes_are_passed_over_where_damaged(cases, tmp_path):
    """Nothing is refused here: a damaged line only means that its sound is read again."""
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"abc")
    cache = tmp_path / "cache"
    index = HashIndex(cache)
    right = index.get(sound)
    index.add(sound, right)
    index.close()
    good = (cache / "hashes-0.jsonl").read_bytes() * 3

    def write(rng):
        shutil.rmtree(cache)
        cache.mkdir()
        (cache / "hashes-0.jsonl").write_bytes(mutated_bytes(good, rng))

    def read():
        size, time, digest = HashIndex(cache).get(sound)
        assert [size, time] == right[:2] and len(digest) == 64

    fuzz(cases, "hashes", tmp_path, write, read, refusals=False)
