"""Checkpoints are whole or absent, and a resumed run is the same run."""

import json
import os
import pickle
import shutil
import subprocess
import zlib

import pytest
import torch

from soundctm.errors import UserError
from soundctm.files import writing
from soundctm.training.running import checkpointing
from soundctm.training.running.checkpointing import Checkpointer


def state(value: float) -> dict:
    return {"model": {"weight": torch.full((4,), value)}, "spent": value, "names": ["a", "b"]}


def test_latest_is_what_was_saved_last(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    assert checkpointer.latest() is None
    checkpointer.save(5, state(1.0))
    path = checkpointer.save(12, state(2.0))
    assert path.name == "checkpoint-00000012"
    step, found = checkpointer.latest()
    assert step == 12 and found["spent"] == 2.0 and found["names"] == ["a", "b"]
    assert torch.equal(found["model"]["weight"], torch.full((4,), 2.0))


def test_only_the_newest_are_kept(tmp_path):
    checkpointer = Checkpointer(tmp_path, keep_last=2)
    for step in (8, 9, 10, 11):
        checkpointer.save(step, state(step))
    assert [p.name for p in checkpointer.paths()] == ["checkpoint-00000010", "checkpoint-00000011"]
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-00000010", "checkpoint-00000011"]
    with pytest.raises(UserError, match="keep_last is 0"):
        Checkpointer(tmp_path, keep_last=0)


@pytest.mark.parametrize("moment", ["torch.save", "rename"])
def test_a_run_killed_while_saving_leaves_the_last_whole_one(tmp_path, monkeypatch, moment):
    class Killed(BaseException):
        pass

    def half_written(content, path):
        path.write_bytes(b"half")
        raise Killed

    def killed(*args):
        raise Killed

    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1.0))
    with monkeypatch.context() as patch:
        if moment == "torch.save":
            patch.setattr(checkpointing.torch, "save", half_written)
        else:
            patch.setattr(writing.os, "replace", killed)
        with pytest.raises(Killed):
            checkpointer.save(2, state(2.0))
    assert checkpointer.latest()[0] == 1
    checkpointer.save(3, state(3.0))
    assert checkpointer.latest()[0] == 3
    assert not list(tmp_path.glob(".*")), "the next save clears what the killed one left"


@pytest.mark.parametrize("damage", ["shorter", "flipped", "no meta", "no state", "wrong meta"])
def test_damaged_checkpoints_are_refused_and_passed_over(tmp_path, caplog, damage):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1.0))
    path = checkpointer.save(2, state(2.0))
    file = path / "state.pt"
    content = bytearray(file.read_bytes())
    if damage == "shorter":
        file.write_bytes(content[:-10])
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "no state":
        file.unlink()
    elif damage == "no meta":
        (path / "meta.json").unlink()
    else:
        (path / "meta.json").write_text("[]")
    with pytest.raises(UserError, match="checkpoint-00000002 is not a whole checkpoint"):
        checkpointer.load(path)
    assert checkpointer.latest()[0] == 1
    assert "checkpoint-00000002" in caplog.text


def damage(path):
    (path / "state.pt").write_bytes(b"")


def names(folder):
    return sorted(path.name for path in folder.glob("checkpoint-*"))


def test_rotation_counts_only_whole_checkpoints_of_the_run(tmp_path, caplog):
    run = {"run": "a"}
    checkpointer = Checkpointer(tmp_path, keep_last=2)
    checkpointer.begin(0, "a")
    for step in (1, 2, 3):
        checkpointer.save(step, state(step) | run)
    damage(tmp_path / "checkpoint-00000003")
    checkpointer.save(4, state(4.0) | run)
    assert names(tmp_path)[0] == "checkpoint-00000002", "the damaged one does not count"
    for step in (5, 6):
        checkpointer.save(step, state(step) | run)
    assert names(tmp_path)[-2:] == ["checkpoint-00000005", "checkpoint-00000006"]
    # both newest damaged: the run goes on at the one before them, and what it saves stays
    for path in tmp_path.glob("checkpoint-*"):
        if path.name != "checkpoint-00000005":
            damage(path)
    again = Checkpointer(tmp_path, keep_last=1)
    step, found = again.latest()
    assert step == 5 and found["run"] == "a"
    again.begin(step, found["run"])
    assert names(tmp_path) == ["checkpoint-00000005"]
    assert names(tmp_path / "set-aside-1") == ["checkpoint-00000003", "checkpoint-00000006"]
    assert "checkpoint-00000006 are not of this run up to step 5, or damaged: moved to" in caplog.text
    again.save(6, state(6.5) | run)
    assert names(tmp_path) == ["checkpoint-00000006"] and again.latest()[1]["spent"] == 6.5


def test_another_run_in_the_folder_loses_nothing_and_takes_nothing(tmp_path, caplog):
    first = Checkpointer(tmp_path, keep_last=1)
    first.save(90, state(90.0) | {"run": "a"})
    second = Checkpointer(tmp_path, keep_last=1)
    second.begin(0, "b")
    for step in (1, 2):
        assert second.save(step, state(step) | {"run": "b"}).is_dir()
    assert names(tmp_path) == ["checkpoint-00000002"] and second.latest()[0] == 2
    assert Checkpointer(tmp_path / "set-aside-1").latest()[0] == 90
    third = Checkpointer(tmp_path, keep_last=1)
    third.begin(0, "c")
    assert Checkpointer(tmp_path / "set-aside-2").latest()[0] == 2 and "set-aside-2" in caplog.text


def test_what_was_just_saved_stays_beside_a_best_and_later_ones(tmp_path):
    checkpointer = Checkpointer(tmp_path, keep_last=1, keep_best=True)
    for step, score in ((10, 1.0), (20, 2.0), (30, 3.0)):
        checkpointer.save(step, state(step), score)
    assert names(tmp_path) == ["checkpoint-00000010", "checkpoint-00000030"]
    saved = checkpointer.save(20, state(20.5), 4.0)  # also where nobody has called `begin`
    assert saved.is_dir() and names(tmp_path) == [f"checkpoint-000000{step}" for step in (10, 20, 30)]
    again = Checkpointer(tmp_path, keep_last=1, keep_best=True)
    step, found = again.resume("best")
    again.begin(step, found.get("run", ""))
    assert names(tmp_path) == ["checkpoint-00000010"] and names(tmp_path / "set-aside-1")[-1] == "checkpoint-00000030"
    again.save(15, state(15.0), 5.0)
    assert names(tmp_path) == ["checkpoint-00000010", "checkpoint-00000015"]


def test_checkpoints_none_of_which_is_whole_are_no_reason_to_begin_anew(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    for step in (1, 2):
        damage(checkpointer.save(step, state(step)))
    with pytest.raises(UserError, match="no checkpoint in .* is whole.*--resume_from_checkpoint none"):
        checkpointer.latest()


@pytest.mark.parametrize("content", [b"no torch file", b"", b"PK\x03\x04 half a zip", pickle.dumps([1])])
def test_a_state_that_fits_its_checksum_and_is_none_is_passed_over(tmp_path, caplog, content):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state(1.0))
    path = checkpointer.save(2, state(2.0))
    (path / "state.pt").write_bytes(content)
    meta = {"step": 2, "bytes": len(content), "crc32": zlib.crc32(content)}
    (path / "meta.json").write_text(json.dumps(meta))
    assert checkpointer.latest()[0] == 1 and "checkpoint-00000002 is not a whole checkpoint" in caplog.text
    (path / "meta.json").write_text("[" * 100_000)
    assert checkpointer.latest()[0] == 1


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_save_killed_while_it_replaces_a_checkpoint_loses_neither(tmp_path, monkeypatch, exchanges):
    """Where the system cannot exchange two names, there is a moment in which neither is there."""
    moments = []

    def look(*_):
        moments.append(sorted(os.listdir(tmp_path)))

    checkpointer, replace = Checkpointer(tmp_path), os.replace
    checkpointer.save(1, state(1.0))
    with monkeypatch.context() as patch:
        if not exchanges:
            patch.setattr(writing, "_exchange", lambda one, other: False)
        patch.setattr(writing.os, "replace", lambda source, target: (replace(source, target), look()))
        patch.setattr(writing.shutil, "rmtree", lambda *_, **__: look())  # it is killed before it clears up
        checkpointer.save(1, state(2.0))
    assert all(["checkpoint-00000001" in names for names in moments]) is exchanges
    assert checkpointer.latest()[1]["spent"] == 2.0
    dead = subprocess.Popen(["true"])
    dead.wait()
    for path in tmp_path.glob(".*"):
        os.replace(path, tmp_path / path.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
    if not exchanges:  # as it is between the two steps
        shutil.rmtree(tmp_path / "checkpoint-00000001")
    checkpointer.begin(1, "")
    assert checkpointer.latest()[1]["spent"] == (2.0 if exchanges else 1.0) and not list(tmp_path.glob(".*"))


def test_saving_the_same_step_again_replaces_it(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(4, state(1.0))
    checkpointer.save(4, state(9.0))
    assert checkpointer.latest()[1]["spent"] == 9.0


def test_what_resume_from_checkpoint_means(tmp_path):
    checkpointer = Checkpointer(tmp_path)
    assert checkpointer.resume("latest") is None and checkpointer.resume(None) is None
    first = checkpointer.save(1, state(1.0))
    checkpointer.save(2, state(2.0))
    assert checkpointer.resume(None) is None
    assert checkpointer.resume("latest")[0] == 2
    assert checkpointer.resume(str(first))[0] == 1
    with pytest.raises(UserError, match="nowhere"):
        checkpointer.resume(str(tmp_path / "nowhere"))


def run(steps: int, model, optimizer, start: int = 0) -> None:
    for step in range(start, steps):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def fresh():
    torch.manual_seed(3)
    model = torch.nn.Linear(4, 4)
    return model, torch.optim.RAdam(model.parameters(), lr=1e-2)


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(tmp_path):
    whole, optimizer = fresh()
    run(20, whole, optimizer)

    model, optimizer = fresh()
    run(11, model, optimizer)
    Checkpointer(tmp_path).save(11, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})

    torch.manual_seed(99)
    resumed, optimizer = torch.nn.Linear(4, 4), None
    optimizer = torch.optim.RAdam(resumed.parameters(), lr=1e-2)
    step, found = Checkpointer(tmp_path).latest()
    resumed.load_state_dict(found["model"])
    optimizer.load_state_dict(found["optimizer"])
    run(20, resumed, optimizer, start=step)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
