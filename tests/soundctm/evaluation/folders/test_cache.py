"""What is stored comes back, and nothing else does."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch

from soundctm.evaluation.extractors.base import Features
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders.cache import Entry, FeatureCache, Key

KEY = Key.of("spectrum", "f" * 64, Reading(8000))


def entries(logits: bool = True) -> dict[str, Entry]:
    generator = torch.Generator().manual_seed(0)
    return {
        f"digest {patches}": Entry(
            Features(
                torch.randn(patches, 5, generator=generator), torch.randn(3, generator=generator) if logits else None
            ),
            seconds=0.1 * patches,
            peak=0.25 * patches,
        )
        for patches in (1, 2, 4)
    }


@pytest.mark.parametrize("logits", [True, False])
def test_round_trip(tmp_path, logits):
    written = entries(logits)
    FeatureCache(tmp_path / "x", KEY).write(written)
    read = FeatureCache(tmp_path / "x", KEY).read()
    assert list(read) == list(written)
    for digest, entry in written.items():
        assert torch.equal(read[digest].features.embeddings, entry.features.embeddings)
        assert (read[digest].seconds, read[digest].peak) == (entry.seconds, entry.peak)
        assert torch.equal(read[digest].features.logits, entry.features.logits) if logits else True
    assert [path.name for path in tmp_path.iterdir()] == ["x.features"]


def test_nothing_stored(tmp_path):
    cache = FeatureCache(tmp_path / "x", KEY)
    assert cache.read() == {}
    cache.write({})
    assert cache.read() == {}


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Key)])
def test_whatever_decides_features_is_part_of_the_key(tmp_path, field):
    FeatureCache(tmp_path / "x", KEY).write(entries())
    assert FeatureCache(tmp_path / "x", dataclasses.replace(KEY, **{field: "another"})).read() == {}


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_damage_is_noticed(tmp_path, damage, caplog):
    cache = FeatureCache(tmp_path / "x", KEY)
    cache.write(entries())
    path = next(tmp_path.glob("x.features/*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    damaged = {"cut": content[:-10], "flip": content, "text": b"not safetensors", "empty": b""}
    path.write_bytes(damaged[damage])
    assert cache.read() == {} and "is damaged" in caplog.text


def test_user_cache_where_the_place_cannot_be_written(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "x.features").touch()  # a file stands where the folder should be
    cache = FeatureCache(tmp_path / "x", KEY)
    cache.write(entries())
    assert len(cache.read()) == 3 and len(list(tmp_path.glob("cache/soundctm/x-*.features/*"))) == 1
    assert FeatureCache(tmp_path / "sub" / "x", KEY).read() == {}  # another folder of that name
    FeatureCache(tmp_path / "old", dataclasses.replace(KEY, code="older")).write(entries())
    (tmp_path / "x.features").unlink()
    (tmp_path / "old.features").rename(tmp_path / "x.features")  # outdated features in the first place hide nothing
    assert len(cache.read()) == 3
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    shutil.rmtree(tmp_path / "x.features")
    (tmp_path / "x.features").touch()
    FeatureCache(tmp_path / "x", KEY).write(entries())
    assert "cannot be stored" in caplog.text
