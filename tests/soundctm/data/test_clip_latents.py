"""Latents of single clips: encoded once, keyed by content, VAE and length; what is bad is named."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from clips_fixture import GOOD, write_clips
from leftovers import left_by_a_dead_process
from safetensors.torch import save_file

from soundctm.data.audio import ClipForm, load_clip
from soundctm.data.clip_latents import clip_latents
from soundctm.data.dataset import read_captioned_files
from soundctm.errors import UserError
from soundctm.training.inputs.batches import LatentBatches

SAMPLES = 10240


class Codec:
    """Energies of 64 samples as the "mel", 4 frames of it a latent frame; counts the clips that it encodes."""

    scale_factor, sampling_rate, device = 2.0, 16000, "cpu"

    def __init__(self):
        self.encoded, self.vae = 0, torch.nn.Linear(1, 1)
        torch.nn.init.ones_(self.vae.weight)

    def encoder_state(self):
        return self.vae.state_dict()

    def to(self, device):
        return self

    def latent_shape(self, seconds):
        return 1, round(seconds * self.sampling_rate) // 256, 1

    @torch.no_grad()
    def moments(self, waveform):
        self.encoded += len(waveform)
        mean = waveform.square().reshape(len(waveform), 1, -1, 256).mean(3, keepdim=True) * self.vae.weight
        return mean, torch.full_like(mean, -60.0)


@pytest.fixture
def table(tmp_path):
    return write_clips(tmp_path / "data")


def encode(table, tmp_path, codec, **given):
    files = read_captioned_files(table, table.parent / "audio", must_exist=False)
    form = given.pop("form", ClipForm(SAMPLES))
    return clip_latents(files, codec, tmp_path / "cache", form, batch_size=3, progress=False, **given)


def test_every_readable_clip_is_encoded_once(table, tmp_path):
    codec = Codec()
    data = encode(table, tmp_path, codec)
    assert len(data) == GOOD + 6 and sorted(data.reasons) == [GOOD, GOOD + 1] and data.shape == (1, 40, 1)
    mean, logvar, caption = data[3]
    expected = load_clip(table.parent / "audio" / "3.wav", SAMPLES).reshape(40, 256).square().mean(1)
    torch.testing.assert_close(mean.flatten(), expected, rtol=1e-3, atol=1e-4)
    assert caption == "Tone number 3" and logvar.mean() == -60
    count = codec.encoded
    again = encode(table, tmp_path, codec, workers=2)
    assert codec.encoded == count and torch.equal(again[3][0], mean)
    with pytest.raises(UserError, match="corrupt.wav"):
        data[GOOD]
    with pytest.raises(UserError, match="missing.wav"):
        data[GOOD + 1]
    assert len(data.readable()) == GOOD + 4


def test_what_changed_is_encoded_anew_and_what_moved_is_not(table, tmp_path):
    codec, audio = Codec(), table.parent / "audio"
    before = encode(table, tmp_path, codec)
    count = codec.encoded
    os.rename(audio / "5.wav", audio / "moved.wav")
    table.write_text(table.read_text().replace("5.wav", "moved.wav"))
    (audio / "4.wav").write_bytes((audio / "7.wav").read_bytes())
    after = encode(table, tmp_path, codec)
    assert codec.encoded == count and torch.equal(after[5][0], before[5][0])  # both contents were known
    assert torch.equal(after[4][0], before[7][0])
    torch.nn.init.constant_(codec.vae.weight, 2.0)
    assert not torch.equal(encode(table, tmp_path, codec)[5][0], before[5][0]) and codec.encoded > count


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_a_damaged_cached_latent_is_made_again_with_a_word(table, tmp_path, caplog, damage):
    codec = Codec()
    data = encode(table, tmp_path, codec)
    before, path, count = data[3][0], data.paths[3], codec.encoded
    if damage is None:
        save_file({"mean": torch.zeros(1, 40, 1)}, path)
    else:
        path.write_bytes(damage)
    with pytest.raises(UserError, match="the next start makes them again"):
        data[3]
    again = encode(table, tmp_path, codec, workers=2 if damage == b"" else 0)
    assert codec.encoded == count + 1 and torch.equal(again[3][0], before)
    assert damage == b"" or f"{path} cannot be used and is made again" in caplog.text  # workers log by themselves


def test_a_damaged_or_poisoned_list_of_hashes_is_passed_over(table, tmp_path, caplog):
    codec = Codec()
    before = encode(table, tmp_path, codec)
    index = tmp_path / "cache" / "hashes-0.jsonl"
    first = table.parent / "audio" / "0.wav"
    stat = first.stat()
    poison = json.dumps([str(first), stat.st_size, stat.st_mtime_ns, "../../../poison"])
    index.write_bytes(b"5\n[]\n\xff\xfe\n" + b"[" * 100_000 + b"\n" + poison.encode() + b'\n["half", 1')
    count = codec.encoded
    again = encode(table, tmp_path, codec)
    assert "6 damaged lines are passed over" in caplog.text and codec.encoded == count
    assert [path for path in again.paths] == [path for path in before.paths]
    encode(table, tmp_path, codec)
    assert sum(line.startswith(b'["/') for line in index.read_bytes().splitlines()) == GOOD + 4


def test_leftovers_of_killed_runs_are_swept(table, tmp_path):
    data = encode(table, tmp_path, Codec())
    left = left_by_a_dead_process(data.paths[3].parent)
    encode(table, tmp_path, Codec())
    assert not left.exists() and data.paths[3].exists()


def test_a_cache_that_cannot_be_written_is_one_sentence(table, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match="cache cannot be written: File exists"):
        encode(table, tmp_path, Codec())


def test_processes_share_the_work(table, tmp_path):
    codecs, barrier, shared = [Codec(), Codec()], threading.Barrier(2), []

    def join(found):
        shared.extend(found)
        barrier.wait(60)
        return shared

    def one(rank):
        return encode(table, tmp_path, codecs[rank], rank=rank, world=2, gather=join)

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(one, range(2)))
    assert all(codec.encoded in (5, 6) for codec in codecs)  # of 11 different contents that can be read
    assert [len(part.readable()) for part in parts] == [GOOD + 4] * 2


def test_bad_clips_are_replaced_by_the_same_others_every_time(table, tmp_path):
    data = encode(table, tmp_path, Codec())
    batches = LatentBatches(data, len(data), 0.0, seed=3)
    first, again = batches.batch(0, range(len(data))), LatentBatches(data, len(data), 0.0, seed=3).batch(0, range(14))
    assert torch.equal(first.latents, again.latents) and first.captions == again.captions
    assert len(first.bad) >= 2 and not {"A broken file", "No file"} & set(first.captions)
    broken = LatentBatches(data, 4, 0.0, seed=3)
    broken.data.paths = [None] * len(data)
    broken.data.reasons = {i: "it is gone" for i in range(len(data))}
    with pytest.raises(UserError, match="100 clips could not be read, the last: it is gone"):
        broken.batch(0, range(4))


def test_mixtures_are_of_two_other_rows_of_the_global_batch(table, tmp_path):
    data = encode(table, tmp_path, Codec()).readable()
    batches = LatentBatches(data, 8, 0.0, seed=1, mix_share=0.25)
    batch = batches.batch(2, range(8))
    assert batch.heard == [3, 7] and batch.waveforms.shape == (2, SAMPLES) and batch.noise.shape == (2, 1, 40, 1)
    assert torch.allclose(batch.waveforms.abs().amax(1), torch.tensor(0.5))
    clips = [caption for place, caption in enumerate(batch.captions) if place not in batch.heard]
    for place in batch.heard:
        first, second = batch.captions[place].split(" and ")
        assert first in clips and any(second == clip[0].lower() + clip[1:] for clip in clips)
    half = LatentBatches(data, 8, 0.0, seed=1, mix_share=0.25).batch(2, range(4, 8))  # as a second process sees it
    assert half.captions == batch.captions[4:] and torch.equal(half.waveforms[0], batch.waveforms[1])
    with pytest.raises(UserError, match="too small for mixtures"):
        LatentBatches(data, 2, 0.0, seed=1, mix_share=0.5)
    with pytest.raises(UserError, match="mix_share is 1.5"):
        LatentBatches(data, 8, 0.0, seed=1, mix_share=1.5)


@pytest.fixture
def plain(table, tmp_path):
    """Clips that keep their level."""
    return encode(table, tmp_path, Codec(), form=ClipForm(SAMPLES, reading="plain")).readable()


def test_clips_of_another_form_are_encoded_anew(table, tmp_path, plain):
    codec = Codec()
    again = encode(table, tmp_path, codec).readable()
    assert codec.encoded >= GOOD and again[0][0].max() > plain[0][0].max(), "brought to a peak of 0.5"


def test_mixtures_of_plain_clips_share_their_peak_three_by_three(plain):
    """As the 21 + 3 rows of the official training do."""
    batches = LatentBatches(plain, 48, 0.0, seed=1, mix_share=0.125)
    batch = batches.batch(2, range(48))
    assert batch.heard == [7, 15, 23, 31, 39, 47]
    peaks = batch.waveforms.abs().amax(1)
    for three in (peaks[:3], peaks[3:]):
        assert three.max().item() == pytest.approx(0.5) and (three < 0.49).any()
    alone = LatentBatches(plain, 48, 0.0, seed=1, mix_share=0.125).batch(2, range(15, 16))
    assert torch.equal(alone.waveforms[0], batch.waveforms[1])


def test_turned_clips_are_the_same_clips_upside_down(plain):
    still = LatentBatches(plain, 16, 0.0, seed=1, mix_share=0.25).batch(0, range(16))
    turned = LatentBatches(plain, 16, 0.0, seed=1, mix_share=0.25, polarity=1.0).batch(0, range(16))
    assert still.heard == [3, 7, 11, 15] and turned.heard == list(range(16)) and turned.captions == still.captions
    assert torch.equal(turned.waveforms[still.heard], -still.waveforms)
    some = LatentBatches(plain, 16, 0.0, seed=1, polarity=0.5)
    heard = some.batch(0, range(16)).heard
    assert 3 < len(heard) < 13
    parts = [LatentBatches(plain, 16, 0.0, seed=1, polarity=0.5).batch(0, rows) for rows in (range(9), range(9, 16))]
    assert parts[0].heard + [place + 9 for place in parts[1].heard] == heard, "whoever takes the row"
    upright = [place for place in range(16) if place not in heard]
    assert torch.equal(some.batch(0, range(16)).latents[upright][:, 0], LatentBatches(plain, 16, 0.0, seed=1).batch(
        0, range(16)).latents[upright][:, 0])  # fmt: skip
