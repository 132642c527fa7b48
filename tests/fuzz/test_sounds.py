"""Damaged sounds, shards of them, and the archives in which games keep them."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import soundfile
from fuzz.mutations import mutated_bytes, mutated_header, mutated_values, mutated_zip
from fuzz.watching import cases, fuzz, limits

from soundctm.data.audio import ClipForm, load_clip, read_audio
from soundctm.data.debian.containers import iterate_members
from soundctm.data.shards import ShardedClips, read_index
from soundctm.errors import UserError
from soundctm.evaluation.extractors.yamnet import ARCHIVE, CLASS_MAP, load_yamnet


def sound_bytes(kind, samples=4000):
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, samples)
    target = io.BytesIO()
    soundfile.write(target, noise, 16000, format=kind)
    return target.getvalue()


@cases
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_sounds(kind, cases, tmp_path):
    path, good = tmp_path / f"a.{kind}", sound_bytes(kind)

    def write(rng):
        path.write_bytes((mutated_bytes if rng.random() < 0.4 else mutated_header)(good, rng))

    path.write_bytes(good)
    fuzz(cases, kind, tmp_path, write, lambda: load_clip(path, 4000))


def shard(folder):
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name, content in (("0.wav", sound_bytes("wav", 400)), ("0.txt", b"rain"), ("1.txt", b"x"), ("1.wav", b"y")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    values = {"shardlist": [{"url": "a.tar", "nsamples": 2}, {"url": "https://a.b/c.tar", "nsamples": 1}]}
    (folder / "index.json").write_text(json.dumps(values))
    return values


@cases
def test_shards(cases, tmp_path):
    shard(tmp_path)
    good = (tmp_path / "a.tar").read_bytes()

    def read():
        ShardedClips(tmp_path / "index.json", tmp_path / "cache", ClipForm(400), 1.0, (8, 4, 16)).heard(0)

    fuzz(cases, "tar", tmp_path, lambda rng: (tmp_path / "a.tar").write_bytes(mutated_bytes(good, rng)), read)


@cases
@pytest.mark.parametrize("deep", [False, True], ids=["bytes", "values"])
def test_lists_of_shards(deep, cases, tmp_path):
    values, path = shard(tmp_path), tmp_path / "index.json"
    good = path.read_bytes()

    def write(rng):
        path.write_bytes(json.dumps(mutated_values(values, rng)).encode() if deep else mutated_bytes(good, rng))

    def read():
        urls, _ = read_index(path)
        assert all(url.startswith("https://") or ".." not in url for url in urls)

    fuzz(cases, f"index {deep}", tmp_path, write, read)


def game_zip():
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.ogg", b"sound " * 50)
        archive.writestr("c.wav", b"other")
    return target.getvalue()


def game_rcc():
    """A root with one compressed and one plain file."""
    names = b"".join(struct.pack(">HI", len(name), 0) + name.encode("utf-16-be") for name in ("a.ogg", "b.wav"))
    packed = struct.pack(">I", 300) + zlib.compress(b"sound " * 50)
    data = struct.pack(">I", len(packed)) + packed + struct.pack(">I", 5) + b"other"
    tree = struct.pack(">IHII", 0, 2, 2, 1) + struct.pack(">IHHHI", 0, 1, 0, 0, 0)
    tree += struct.pack(">IHHHI", 16, 0, 0, 0, 4 + len(packed))
    return struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(tree), 20 + len(tree) + len(data)) + tree + data + names


def game_cat():
    riff = b"RIFF" + struct.pack("<I", 12) + b"WAVEdata\0\0\0\0"
    entry = b"\x05wind\0" + riff
    return struct.pack("<IIII", 16, len(entry), 16 + len(entry), len(entry)) + entry * 2


@cases
@pytest.mark.parametrize("kind", ["zip", "rcc", "cat"])
def test_archives_of_games(kind, cases, tmp_path):
    path = tmp_path / f"a.{kind}"
    good = {"zip": game_zip, "rcc": game_rcc, "cat": game_cat}[kind]()
    path.write_bytes(good)
    mutate = mutated_zip if kind == "zip" else mutated_bytes

    def read():
        with path.open("rb") as file:
            return list(iterate_members(file, path.name, lambda name: True))

    assert len(read()) == 2
    fuzz(cases, kind, tmp_path, lambda rng: path.write_bytes(mutate(good, rng)), read)


def refused(path, said):
    with path.open("rb") as file, pytest.raises(UserError, match=said):
        list(iterate_members(file, path.name, lambda name: True))


def test_a_flac_that_says_more_samples_than_it_holds_is_refused(tmp_path):
    """Eight bytes behind the marker and sizes: rate, channels, bits, and 36 bits of the number of samples."""
    good = sound_bytes("flac")
    at = 8 + 10
    (packed,) = struct.unpack(">Q", good[at : at + 8])
    (tmp_path / "a.flac").write_bytes(good[:at] + struct.pack(">Q", packed | 2**36 - 1) + good[at + 8 :])
    with limits("a flac"), pytest.raises(UserError, match="a.flac cannot be read as a sound file"):
        read_audio(tmp_path / "a.flac")


def test_long_sounds_are_read_in_blocks_and_come_out_the_same(tmp_path, monkeypatch):
    (tmp_path / "a.ogg").write_bytes(sound_bytes("ogg"))
    (tmp_path / "a.flac").write_bytes(sound_bytes("flac"))
    at_once = [read_audio(tmp_path / name) for name in ("a.ogg", "a.flac")]
    monkeypatch.setattr("soundctm.data.audio.AT_ONCE", 999)
    for name, whole in zip(("a.ogg", "a.flac"), at_once, strict=True):
        assert read_audio(tmp_path / name).equal(whole)
    monkeypatch.setattr("soundctm.data.audio.MOST_SAMPLES", 2000)
    with pytest.raises(UserError, match="holds more than 2000 samples"):
        read_audio(tmp_path / "a.flac")


def test_qt_resources_that_lead_back_into_themselves_are_refused(tmp_path):
    good = bytearray(game_rcc())
    good[20 + 10 : 20 + 14] = struct.pack(">I", 0)  # the root's first child is the root
    (tmp_path / "a.rcc").write_bytes(good)
    refused(tmp_path / "a.rcc", "leads back")


def test_encrypted_archives_and_bombs_are_refused(tmp_path, monkeypatch):
    good = bytearray(game_zip())
    for marker, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        good[good.index(marker) + place] |= 1
    (tmp_path / "a.zip").write_bytes(good)
    refused(tmp_path / "a.zip", "encrypted")
    monkeypatch.setattr("soundctm.data.debian.containers.MOST_BYTES", 200)
    for kind, content in (("pk3", game_zip()), ("rcc", game_rcc())):
        (tmp_path / f"b.{kind}").write_bytes(content)
        refused(tmp_path / f"b.{kind}", "unpacks to more than 200 bytes")


def test_a_compressed_shard_is_refused(tmp_path):
    shard(tmp_path)
    path = tmp_path / "a.tar"
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match="cannot be read as a plain tar"):
        ShardedClips(tmp_path / "index.json", tmp_path / "cache", ClipForm(400), 1.0, (8, 4, 16)).heard(0)


def test_a_damaged_archive_of_yamnet_is_refused(tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / CLASS_MAP).write_text("index,mid,display_name\n0,x,Speech\n")
    for content in (b"", b"\xff" * 40):  # a graph without layers, and none
        with zipfile.ZipFile(tmp_path / ARCHIVE, "w") as archive:
            archive.writestr("model.onnx", content)
        with pytest.raises(UserError, match=ARCHIVE):
            load_yamnet(str(tmp_path))
