"""A fault in the middle of a run: clips that were there stay, and the same command completes the folder."""

import csv
import errno
import os
import shutil

import pytest

from soundctm.files import lines, writing
from soundctm.files.locks import held
from soundctm.inference.manifest import COLUMNS, Entry, Manifest

CAPTIONS = "caption,file_name\nrain,a.wav\nwind,b.wav\nbells,c.wav\n"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text(CAPTIONS)
    return str(path)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def rows(folder):
    with open(folder / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def full_disk(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_model_that_cannot_be_loaded_costs_no_old_clip(infer, out, captions, monkeypatch):
    from soundctm.errors import UserError
    from soundctm.inference import run

    assert infer("--test_file", captions) == 0
    before = contents(out)

    def broken(options, device):
        raise UserError("the weights are cut off")

    monkeypatch.setattr(run, "load_pipeline", broken)
    assert infer("--test_file", captions, "--seed", "1", "--overwrite") == 2
    assert contents(out) == before and len(rows(out)) == 3
    assert infer("--test_file", captions) == 0, "nothing to make, so no model is loaded"


def test_an_interrupted_replacement_leaves_old_clips_or_new_ones(infer, out, captions, pipeline):
    assert infer("--test_file", captions) == 0
    before = contents(out)
    pipeline.stop_before = len(pipeline.calls) + 1
    assert infer("--test_file", captions, "--seed", "1", "--overwrite", "--batch_size", "1") == 130
    between = contents(out)
    assert [name for name in before if between[name] != before[name]] == ["a.wav"]
    pipeline.stop_before = None
    assert infer("--test_file", captions, "--seed", "1", "--overwrite") == 0
    assert all(contents(out)[name] != before[name] for name in before) and contents(out)["a.wav"] == between["a.wav"]


def test_a_kill_between_announcement_and_clip_is_mended_without_overwrite(infer, out, captions):
    assert infer("--test_file", captions) == 0
    entry = Entry(**rows(out)[0])
    pending = Entry(**{**vars(entry), "seconds": "", "generation_seconds": ""})
    Manifest(out).append(pending)
    (out / "a.wav").write_bytes(b"old")
    assert infer("--test_file", captions) == 0
    assert (out / "a.wav").read_bytes() != b"old" and len(rows(out)) == 3 and all(row["seconds"] for row in rows(out))


def test_a_disk_that_takes_half_a_line_leaves_whole_lines(infer, out, captions, monkeypatch, capsys):
    real, calls = os.write, []

    def half(descriptor, content):
        if b".wav" not in content and len(calls) != 2:
            return real(descriptor, content)  # the lock
        calls.append(content)
        if len(calls) == 2:
            return real(descriptor, content[: len(content) // 2])
        return full_disk() if len(calls) == 3 else real(descriptor, content)

    monkeypatch.setattr(lines.os, "write", half)
    assert infer("--test_file", captions, "--batch_size", "1") == 2
    monkeypatch.setattr(lines.os, "write", real)
    assert "No space left" in capsys.readouterr().err
    assert [row["file"] for row in rows(out)] == ["a.wav"] and set(contents(out)) == {"a.wav"}
    assert infer("--test_file", captions) == 0 and len(rows(out)) == 3


def test_a_manifest_that_is_removed_meanwhile_is_written_again(infer, out, captions, pipeline):
    real = type(pipeline).__call__

    class Removing(type(pipeline)):
        def __call__(self, *args, **kwargs):
            if len(self.calls) == 2:
                (out / "manifest.csv").unlink()
            return real(self, *args, **kwargs)

    pipeline.__class__ = Removing
    assert infer("--test_file", captions, "--batch_size", "1") == 0
    assert [row["file"] for row in rows(out)] == ["a.wav", "b.wav", "c.wav"] and list(rows(out)[0]) == COLUMNS
    assert infer("--test_file", captions) == 0 and len(pipeline.calls) == 3


@pytest.mark.parametrize("what", ["os.replace", "fsync"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(infer, out, captions, monkeypatch, capsys, what):
    assert infer("--prompt", "first") == 0
    monkeypatch.setattr(writing.os, "fsync" if what == "fsync" else "replace", full_disk)
    assert infer("--test_file", captions) == 2
    monkeypatch.undo()
    said = capsys.readouterr().err
    assert "No space left" in said and "Traceback" not in said
    assert set(contents(out)) == {"first.wav"} and not list(out.glob(".*.tmp"))


def test_a_disk_that_fills_is_one_sentence_and_the_clips_before_stay(infer, small_disk, captions, capsys):
    """A clip takes 12 KiB, and the files beside the clips as much: where 40 are free the third does not fit."""
    out = small_disk / "out"
    (small_disk / "other").write_bytes(bytes(260 * 1024))
    assert infer("--test_file", captions, "--output_dir", str(out)) == 2
    said = capsys.readouterr().err
    assert "cannot be written: No space left on device" in said and "are free there" in said
    assert "Traceback" not in said and 1 <= len(contents(out)) < 3 and not list(out.glob(".*.tmp"))
    before = contents(out)
    (small_disk / "other").unlink()
    assert infer("--test_file", captions, "--output_dir", str(out)) == 0
    assert len(contents(out)) == 3 and before.items() <= contents(out).items()


def test_a_folder_that_is_removed_meanwhile_is_made_again(infer, out, captions, pipeline):
    make = pipeline.__class__.__call__

    def removing(self, *arguments, **settings):
        if len(self.calls) == 1:
            shutil.rmtree(out)
        return make(self, *arguments, **settings)

    pipeline.__class__ = type("Removing", (pipeline.__class__,), {"__call__": removing})
    assert infer("--test_file", captions, "--batch_size", "1") == 0
    assert {"b.wav", "c.wav"} <= set(contents(out))
    assert infer("--test_file", captions) == 0 and set(contents(out)) == {"a.wav", "b.wav", "c.wav"}


def test_one_run_at_a_time_per_folder(infer, out, captions, capsys):
    with held(out, "generation"):
        assert infer("--test_file", captions) == 2
    assert "in use by a generation (process" in capsys.readouterr().err
    assert infer("--test_file", captions) == 0 and not (out / ".lock").exists()
