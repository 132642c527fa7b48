"""Features of folders: computed once per content, never stale, whatever happens to files and cache."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile
import torch
from evaluation_sounds import SpectrumExtractor, register, sound, write_folder

from soundctm.errors import UserError
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders import features as module
from soundctm.evaluation.folders.features import LazyExtractor, folder_features


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "clips", 6)


def run(folder, extractor=None, **settings):
    extractor = extractor or SpectrumExtractor()
    return folder_features(folder, [extractor], **settings), extractor.seen


def same(a, b):
    assert a.names == b.names and a.seconds == b.seconds and a.silent == b.silent
    for first, second in zip(a.features["spectrum"], b.features["spectrum"], strict=True):
        assert torch.equal(first.embeddings, second.embeddings) and torch.equal(first.logits, second.logits)


def fresh(folder):
    return run(folder, recalculate=True)[0]


def test_an_unchanged_folder_costs_no_computation_and_gives_the_same(folder):
    first, seen = run(folder)
    assert seen == first.computed == 6 and first.names == tuple(f"c{i:02d}.wav" for i in range(6))
    again, seen = run(folder)
    assert seen == again.computed == 0
    same(first, again)


def test_changed_added_removed_and_renamed_files_are_noticed(folder):
    run(folder)
    soundfile.write(folder / "c01.wav", sound(9), 16000)
    changed, seen = run(folder)
    assert seen == 1
    soundfile.write(folder / "new.wav", sound(10), 16000)
    assert run(folder)[1] == 1
    (folder / "c00.wav").unlink()
    removed, seen = run(folder)
    assert seen == 0 and "c00.wav" not in removed.names
    same(removed, fresh(folder))
    (folder / "c05.wav").rename(folder / "renamed.wav")
    renamed, seen = run(folder)
    assert seen == 0
    same(renamed, fresh(folder))


def test_equal_time_and_size_do_not_hide_a_change(folder):
    import os

    before, _ = run(folder)
    path = folder / "c02.wav"
    stat = path.stat()
    soundfile.write(path, sound(11), 16000)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    after, seen = run(folder)
    assert seen == 1
    assert not torch.equal(before.embeddings("spectrum")[2], after.embeddings("spectrum")[2])


def test_removed_clips_leave_the_cache(folder, tmp_path):
    run(folder)
    stored = next(tmp_path.glob("clips.features/*"))
    size = stored.stat().st_size
    (folder / "c00.wav").unlink()
    run(folder)
    assert stored.stat().st_size < size


def test_a_damaged_cache_is_rebuilt(folder, tmp_path):
    first, _ = run(folder)
    stored = next(tmp_path.glob("clips.features/*"))
    stored.write_bytes(stored.read_bytes()[:-50])
    again, seen = run(folder)
    assert seen == 6
    same(first, again)
    assert run(folder)[1] == 0


def test_other_weights_are_other_features(folder):
    run(folder)
    assert run(folder, SpectrumExtractor(weights_hash="1" * 64))[1] == 6
    assert run(folder)[1] == 0  # each has a file of its own


def test_recalculate(folder):
    run(folder)
    assert run(folder, recalculate=True)[1] == 6


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 4, "num_workers": 0}, {"num_workers": 3}])
def test_batches_and_threads_change_nothing(folder, settings):
    same(fresh(folder), run(folder, recalculate=True, **settings)[0])


def test_several_extractors_read_a_file_once(folder, monkeypatch):
    read = []
    original = module.read_sound
    monkeypatch.setattr(module, "read_sound", lambda path, readings: read.append(readings) or original(path, readings))
    first, second = SpectrumExtractor(), SpectrumExtractor("other", 16000)
    found = folder_features(folder, [first, second])
    assert read == [{Reading(8000), Reading(16000)}] * 6 and set(found.features) == {"spectrum", "other"}
    read.clear()
    soundfile.write(folder / "c00.wav", sound(12), 16000)
    folder_features(folder, [first])
    folder_features(folder, [first, second])
    assert read == [{Reading(8000)}, {Reading(16000)}]  # each lacked it at another time


def test_a_file_that_changes_while_it_is_read_is_stored_under_what_was_read(folder, monkeypatch):
    original = module.file_digest

    def hash_then_change(path):
        digest = original(path)
        if path.name == "c03.wav":
            soundfile.write(path, sound(13), 16000)
        return digest

    monkeypatch.setattr(module, "file_digest", hash_then_change)
    found, _ = run(folder)
    monkeypatch.undo()
    again, seen = run(folder)
    assert seen == 0
    same(found, again)
    same(again, fresh(folder))


def test_unreadable_clips_are_named_and_more_than_one_in_a_hundred_fails(tmp_path, caplog):
    folder = write_folder(tmp_path / "clips", 100, seconds=0.2)
    (folder / "bad.wav").write_text("no sound")
    found, seen = run(folder)
    assert seen == 100 and len(found.names) == 100
    assert [clip.name for clip in found.unreadable] == ["bad.wav"] and "bad.wav cannot be read" in caplog.text
    assert run(folder)[1] == 0
    soundfile.write(folder / "nan.wav", np.full(1000, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(UserError, match="2 of the 102 clips of .* cannot be evaluated .more than 1 %., among them bad"):
        run(folder)
    assert "nan.wav holds NaN" in caplog.text


def test_silent_and_very_short_clips_count_and_are_named(folder, caplog):
    soundfile.write(folder / "silence.wav", np.zeros(8000), 16000)
    soundfile.write(folder / "short.wav", sound(0, seconds=0.02), 16000)
    found, _ = run(folder)
    assert found.silent == ("silence.wav",) and {"silence.wav", "short.wav"} < set(found.names)
    assert "silence.wav is silent" in caplog.text and "short.wav lasts 0.020 s" in caplog.text


def test_equal_files_share_their_features(folder):
    shutil.copy(folder / "c00.wav", folder / "copy.wav")
    found, _ = run(folder)
    assert torch.equal(found.embeddings("spectrum")[0], found.embeddings("spectrum")[-1])
    assert run(folder)[1] == 0


def test_what_was_finished_before_an_interruption_is_kept(folder):
    class Interrupted(SpectrumExtractor):
        def __call__(self, waveforms):
            if self.seen >= 4:
                raise KeyboardInterrupt
            return super().__call__(waveforms)

    with pytest.raises(KeyboardInterrupt):
        run(folder, Interrupted(), batch_size=2)
    assert run(folder)[1] == 2


def test_an_extractor_is_built_only_when_it_has_something_to_do(folder, tmp_path, monkeypatch):
    built = []
    register(monkeypatch, tmp_path, {"spectrum": lambda **given: built.append(1) or SpectrumExtractor(**given)})
    folder_features(folder, [LazyExtractor("spectrum")])
    folder_features(folder, [LazyExtractor("spectrum")])
    assert len(built) == 1
    (tmp_path / "weights").write_text("other weights")
    assert folder_features(folder, [LazyExtractor("spectrum")]).computed == 6 and len(built) == 2


def test_weights_that_are_not_those_that_were_hashed(tmp_path, monkeypatch):
    register(monkeypatch, tmp_path, {"spectrum": SpectrumExtractor})
    lazy = LazyExtractor("spectrum")
    (tmp_path / "weights").write_text("other weights")
    with pytest.raises(UserError, match="weights of spectrum changed"):
        lazy([torch.zeros(8000)])
    register(monkeypatch, tmp_path, {"spectrum": lambda **given: SpectrumExtractor(sampling_rate=9, **given)})
    with pytest.raises(UserError, match="take sound at 9 Hz, not 8000 Hz"):
        LazyExtractor("spectrum")([torch.zeros(8000)])
