"""Shards hold what was packed, in an order that a resumed training repeats."""

import io
import json
import os
import tarfile

import pytest
import torch
from clips_fixture import GOOD, write_good_clips

from soundctm.data.audio import ClipForm, load_clip
from soundctm.data.dataset import read_captioned_files
from soundctm.data.shards import ShardedClips, clip_and_kind, main
from soundctm.errors import UserError
from soundctm.training.inputs.batches import LatentBatches

SAMPLES = 10240


@pytest.fixture
def packed(tmp_path, capsys):
    table = write_good_clips(tmp_path / "data")
    given = ["--train_file", str(table), "--audio_dir", str(table.parent / "audio"), "--clips", "3"]
    assert main([*given, "--output_dir", str(tmp_path / "shards")]) == 0
    assert sorted(os.listdir(tmp_path / "shards")) == ["index.json", *(f"sounds-00000{i}.tar" for i in range(3))]
    return table, tmp_path / "shards" / "index.json"


def opened(index, tmp_path):
    return ShardedClips(index, tmp_path / "cache", ClipForm(SAMPLES), 1.0, (8, 16, 16))


def test_every_clip_comes_back_with_its_caption(packed, tmp_path):
    table, index = packed
    data = opened(index, tmp_path)
    files = read_captioned_files(table, table.parent / "audio")
    assert len(data) == GOOD == len(files)
    for number, file in enumerate(files):
        waveform, caption = data.heard(number)
        assert caption == file.caption and torch.equal(waveform, load_clip(file.path, SAMPLES))


def test_an_epoch_takes_one_shard_after_the_other(packed, tmp_path):
    order = opened(packed[1], tmp_path).order(torch.Generator().manual_seed(0)).tolist()
    assert sorted(order) == list(range(GOOD))
    shards = [number // 3 for number in order]
    assert len([k for k in range(1, GOOD) if shards[k] != shards[k - 1]]) == 2


def test_batches_are_to_be_encoded_live_and_repeat_themselves(packed, tmp_path):
    batches = LatentBatches(opened(packed[1], tmp_path), 4, 0.0, seed=1, mix_share=0.25)
    batch = batches.batch(1, range(4))
    assert batch.heard == [0, 1, 2, 3] and batch.waveforms.shape == (4, SAMPLES) and " and " in batch.captions[3]
    fresh = LatentBatches(opened(packed[1], tmp_path), 4, 0.0, seed=1, mix_share=0.25)
    half = fresh.batch(1, range(2, 4))
    assert half.captions == batch.captions[2:] and torch.equal(half.waveforms, batch.waveforms[2:])


def test_remote_shards_are_fetched_once(packed, tmp_path, monkeypatch):
    gopen = pytest.importorskip("webdataset.gopen")
    index = packed[1]
    values = json.loads(index.read_text())
    for shard in values["shardlist"]:
        shard["url"] = f"https://example.org/sounds/{shard['url']}"
    index.write_text(json.dumps(values))
    here = {"https": lambda url, *_, **__: (index.parent / url.rsplit("/", 1)[-1]).open("rb")}
    monkeypatch.setattr(gopen, "gopen_schemes", gopen.gopen_schemes | here)
    caption = opened(index, tmp_path).heard(4)[1]
    for path in index.parent.glob("*.tar"):
        path.unlink()
    assert opened(index, tmp_path).heard(4)[1] == caption
    with pytest.raises(UserError, match="the shard https://.* cannot be fetched"):
        opened(index, tmp_path).heard(0)


def test_what_is_wrong_is_named(packed, tmp_path):
    table, index = packed
    index.write_text(json.dumps({"shardlist": [{"url": "sounds-000000.tar", "nsamples": 9}]}))
    with pytest.raises(UserError, match="sounds-000000.tar holds 3 clips, not the 5"):
        opened(index, tmp_path).heard(4)
    (index.parent / "sounds-000000.tar").write_bytes(b"no tar")
    with pytest.raises(UserError, match="sounds-000000.tar cannot be read"):
        opened(index, tmp_path).heard(0)
    index.write_text("[]")
    with pytest.raises(UserError, match="index.json is no index"):
        opened(index, tmp_path)


@pytest.mark.parametrize(
    ("member", "clip"),
    [
        ("0001.flac", ("0001", "flac")),
        ("./0001.WAV", ("0001", "wav")),
        ("./v1.2/set.b/0001.txt", ("v1.2/set.b/0001", "txt")),
        ("birds/0001.flac", ("birds/0001", "flac")),
        ("./._0001.flac", None),
        ("birds/._0001.txt", None),
        ("__MACOSX/0001.flac", None),
        (".DS_Store", None),
    ],
)
def test_names_inside_a_shard(member, clip):
    assert clip_and_kind(member) == clip


def test_shards_that_tar_made_are_read(packed, tmp_path):
    """As `tar -cf x.tar .` writes them: ./ before names, folders as members, dots in folders, macOS' companions."""
    table, index = packed
    files = read_captioned_files(table, table.parent / "audio")[:2]
    folder = tmp_path / "v1.2"
    folder.mkdir()
    with tarfile.open(index.parent / "sounds-000000.tar", "w") as tar:
        tar.add(folder, "./v1.2")
        for row, file in enumerate(files):
            for name, content in (
                (f"./v1.2/._{row}.wav", b"AppleDouble"),
                (f"./v1.2/{row}.wav", file.path.read_bytes()),
                (f"./v1.2/._{row}.txt", b"AppleDouble"),
                (f"./v1.2/{row}.txt", f"\ufeff{file.caption}\r\n".encode()),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    index.write_text(json.dumps({"shardlist": [{"url": "sounds-000000.tar", "nsamples": 2}]}))
    data = opened(index, tmp_path)
    for row, file in enumerate(files):
        waveform, caption = data.heard(row)
        assert caption == file.caption and torch.equal(waveform, load_clip(file.path, SAMPLES))


@pytest.mark.parametrize(
    "url, count",
    [(f"pipe:touch {'{}'}/ran", 1), ("gs://a/b.tar", 1), ("hf://a", 1), ("http://a/b", 1), ("file:///etc/passwd", 1)]
    + [("https://a/b'; touch ran; '", 1), ("https://a/../b", 1), ("/dev/zero", 1), ("../b.tar", 1), (5, 1), (None, 1)]
    + [("a.tar", 10**9), ("a.tar", 10**400), ("a.tar", 1.5), ("a.tar", "1"), ("a.tar", True), ("a.tar", None)],
)
def test_an_index_runs_nothing_leads_nowhere_and_asks_for_no_memory(packed, tmp_path, url, count):
    index = packed[1]
    url = url.format(tmp_path) if isinstance(url, str) else url
    index.write_text(json.dumps({"shardlist": [{"url": url, "nsamples": count}]}))
    with pytest.raises(UserError, match="shard 0"):
        opened(index, tmp_path).heard(0)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, "5", "{}", '{"shardlist": [5]}', '{"shardlist": []}', "\0", ""])
def test_what_is_no_index_is_one_sentence(packed, tmp_path, text):
    packed[1].write_text(text)
    with pytest.raises(UserError, match="index.json"):
        opened(packed[1], tmp_path)
