"""The loop on a toy: exact resume, skipped steps, accumulation, signals, the log."""

import json
import logging
import os
import signal

import pytest
import torch
import toy
from toy import toy_config

from soundctm.errors import UserError
from soundctm.files.locks import held
from soundctm.training.running.loop import Loop


def weights(path):
    return torch.load(path, weights_only=True)


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder):
    """By step, of ordinary lines; a later line of the same step replaces an earlier one."""
    return {line["step"]: (line["loss"], line["grad_norm"]) for line in lines(folder) if "loss" in line}


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def raise_signal_at(monkeypatch, step, number):
    updated = toy.ToyTask.updated

    def signalling(self, moment):
        updated(self, moment)
        if moment.step == step:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(toy.ToyTask, "updated", signalling)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_and_the_resumed_run_is_the_same_run(tmp_path, monkeypatch, number, code):
    whole = toy.train(toy_config(tmp_path / "whole"))
    config = toy_config(tmp_path / "parts", checkpointing_steps=100)
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        raise_signal_at(patch, 12, number)
        with pytest.raises(SystemExit) as end:
            toy.train(config)
    assert end.value.code == code and signal.getsignal(number) is handler
    assert [path.name for path in (tmp_path / "parts").glob("checkpoint-*")] == ["checkpoint-00000014"]
    assert same(toy.train(config), whole)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole") and len(losses(tmp_path / "whole")) == 20
    assert [line["step"] for line in lines(tmp_path / "parts") if line.get("event") == "resumed"] == [14]


def test_workers_change_nothing(tmp_path):
    alone = toy.train(toy_config(tmp_path / "alone", num_workers=0))
    assert same(toy.train(toy_config(tmp_path / "workers", num_workers=2)), alone)


@pytest.mark.parametrize("given", [{"gradient_accumulation_steps": 4}, {"total_batch_size": 8}])
def test_accumulated_micro_batches_are_one_batch(tmp_path, given):
    whole = weights(toy.train(toy_config(tmp_path / "whole", batch_size=8)))
    parts = weights(toy.train(toy_config(tmp_path / "parts", batch_size=2, **given)))
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-6)
    assert lines(tmp_path / "parts")[-1]["loss"] == pytest.approx(lines(tmp_path / "whole")[-1]["loss"], rel=1e-4)


def test_a_global_batch_that_cannot_be_shared_out_is_refused(tmp_path):
    with pytest.raises(UserError, match="total_batch_size is 10; it must be a multiple of 4 rows"):
        toy.train(toy_config(tmp_path, total_batch_size=10))


@pytest.mark.parametrize("bad", [{"bad_rows": ("7:2",)}, {"bad_gradients": (7,)}])
def test_steps_that_are_not_finite_change_nothing_and_are_counted(tmp_path, monkeypatch, bad):
    states = {}
    step = Loop.step

    def spying(self, batches, moment, stop):
        states[moment.step] = [p.clone() for p in self.task.network.parameters()]
        return step(self, batches, moment, stop)

    monkeypatch.setattr(Loop, "step", spying)
    toy.train(toy_config(tmp_path, **bad))
    assert all(torch.equal(a, b) for a, b in zip(states[7], states[8], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(states[8], states[9], strict=True))
    (event,) = [line for line in lines(tmp_path) if "event" in line]
    assert event == {"step": 8, "event": "not finite, skipped", "skipped": 1}
    assert lines(tmp_path)[-1]["skipped"] == 1
    (line,) = [line for line in lines(tmp_path) if line["step"] == 8 and "loss" in line]
    assert line["grad_norm"] is None  # JSON knows no NaN


def test_a_run_that_stays_not_finite_stops_with_its_last_checkpoint(tmp_path):
    bad = tuple(f"{step}:0" for step in range(6, 20))
    with pytest.raises(UserError, match="3 steps in a row .* the last was step 9;"):
        toy.train(toy_config(tmp_path, bad_rows=bad, max_bad_steps=3))
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-00000005"]
    survives = toy_config(tmp_path / "other", bad_rows=("3:0", "4:0", "6:0", "7:0"), max_bad_steps=3)
    assert toy.train(survives).is_file() and lines(tmp_path / "other")[-1]["skipped"] == 4


def test_newest_and_best_checkpoints_are_kept(tmp_path, monkeypatch):
    scores = iter([3.0, 1.0, float("nan"), 2.0])
    monkeypatch.setattr(toy.ToyTask, "validate", lambda self: {"distance": next(scores)})
    toy.train(toy_config(tmp_path, keep_last=1))
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-00000010", "checkpoint-00000020"]
    best = weights(tmp_path / "checkpoint-00000010" / "state.pt")["network"]
    written = weights(toy.train(toy_config(tmp_path, resume_from_checkpoint="best", steps=10)))  # no step is left
    assert all(torch.equal(written[name], value) for name, value in best.items())
    with pytest.raises(UserError, match="no checkpoint in .* has a validation score"):
        toy.train(toy_config(tmp_path / "other", resume_from_checkpoint="best"))


def test_changed_options_are_told_and_another_identity_is_refused(tmp_path, caplog):
    toy.train(toy_config(tmp_path, steps=5))
    with caplog.at_level(logging.WARNING):
        toy.train(toy_config(tmp_path, steps=6, batch_size=8))
    assert "batch_size was 4 and is 8, steps was 5 and is 6" in caplog.text
    with pytest.raises(UserError, match="checkpoint of step 6 in .* label was a and is b"):
        toy.train(toy_config(tmp_path, label="b"))
    with pytest.raises(UserError, match="its network does not fit .*0.weight"):
        toy.train(toy_config(tmp_path, width=9))
    assert toy.train(toy_config(tmp_path, label="b", resume_from_checkpoint=None)).is_file()


def test_the_time_limit_ends_the_run(tmp_path):
    toy.train(toy_config(tmp_path, steps=10**6, max_minutes=0.02, pause=0.01, num_workers=0))
    last = lines(tmp_path)[-1]
    assert 20 < last["step"] < 130 and 1.0 < last["seconds"] < 10.0 and last["lr"] < 1e-3


def test_wrong_options_are_refused(tmp_path):
    with pytest.raises(UserError, match="log_every is 0"):
        toy_config(tmp_path, log_every=0)
    with pytest.raises(UserError, match="no tracker 'paper'"):
        toy.train(toy_config(tmp_path, report_to=("paper",)))


def test_a_new_run_sets_the_checkpoints_of_another_aside(tmp_path, caplog):
    toy.train(toy_config(tmp_path, steps=20))
    toy.train(toy_config(tmp_path, steps=10, label="b", resume_from_checkpoint=None))
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*"))[-1] == "checkpoint-00000010"
    assert (tmp_path / "set-aside-1" / "checkpoint-00000020").is_dir() and "moved to" in caplog.text
    assert toy.train(toy_config(tmp_path, steps=11, label="b")).is_file()  # goes on from its own


def test_a_folder_of_something_else_where_the_result_goes_is_told_before_the_first_step(tmp_path):
    result = toy.train(toy_config(tmp_path / "a", steps=1)).name
    (tmp_path / "b" / result).mkdir(parents=True)
    (tmp_path / "b" / result / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match=f"{result} holds something else"):
        toy.train(toy_config(tmp_path / "b", steps=1))
    assert not list((tmp_path / "b").glob("checkpoint-*")) and (tmp_path / "b" / result / "diary.txt").is_file()


def test_with_the_newest_checkpoints_damaged_the_one_before_is_gone_on_from_exactly(tmp_path, caplog):
    first = toy.train(toy_config(tmp_path, keep_last=4))
    before = weights(first)
    first.unlink()
    for step in (15, 20):
        (tmp_path / f"checkpoint-{step:08d}" / "state.pt").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        after = weights(toy.train(toy_config(tmp_path, keep_last=4)))
    assert caplog.text.count("skipping a broken checkpoint") == 2 and "resumed" not in caplog.text  # no other options
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [line["step"] for line in lines(tmp_path) if line.get("event") == "resumed"] == [10]


def test_a_half_line_of_a_killed_run_is_cut(tmp_path):
    toy.train(toy_config(tmp_path, steps=10))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 11, "los')
    toy.train(toy_config(tmp_path, steps=12))
    assert [line["step"] for line in lines(tmp_path) if "loss" in line] == list(range(1, 13))


def test_a_second_training_into_the_folder_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(toy.ToyTask, "__init__", lambda *_: pytest.fail("work was done"))
    with held(tmp_path, "training"), pytest.raises(UserError, match=f"in use by a training .process {os.getpid()} on"):
        toy.train(toy_config(tmp_path))
