"""Trackers get the log's numbers, ask nothing, and cannot stop a training."""

import json
import logging
import sys

import pytest
import toy
from toy import toy_config

from soundctm.errors import UserError
from soundctm.training.running import trackers

wandb = pytest.importorskip("wandb")


@pytest.fixture
def fresh_wandb(monkeypatch, tmp_path):
    """No key, no mode, and nothing of the real home; standard input would block a prompt for ever."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(trackers, "PATIENCE", 2)
    yield
    wandb.teardown()


def steps_in(folder):
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_tensorboard_gets_every_line(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    toy.train(toy_config(tmp_path, steps=4, report_to=("tensorboard",)))
    (folder,) = (tmp_path / "tracker").iterdir()
    events = EventAccumulator(str(folder)).Reload()
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([line["loss"] for line in logged])


def test_wandb_without_a_key_is_offline_and_asks_nothing(tmp_path, fresh_wandb, caplog):
    with caplog.at_level(logging.WARNING):
        toy.train(toy_config(tmp_path / "run", steps=3, report_to=("wandb",)))
    assert "wandb has no key" in caplog.text and steps_in(tmp_path / "run") == [1, 2, 3]
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_wandb_out_of_reach_is_a_warning_and_an_offline_run(tmp_path, fresh_wandb, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert toy.train(toy_config(tmp_path / "run", steps=3, report_to=("wandb",))).is_file()
    assert steps_in(tmp_path / "run") == [1, 2, 3]
    assert any(record.name == trackers.__name__ for record in caplog.records)
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


def test_a_tracker_that_fails_on_the_way_stops_nothing(tmp_path, fresh_wandb, monkeypatch, caplog):
    def broken(self, values, step=None):
        raise OSError("the network is gone")

    monkeypatch.setattr(trackers.WandBTracker, "log", broken)
    with caplog.at_level(logging.WARNING):
        toy.train(toy_config(tmp_path / "run", steps=3, report_to=("wandb",)))
    assert "wandb: the network is gone" in caplog.text and steps_in(tmp_path / "run") == [1, 2, 3]


def test_a_tracker_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        trackers.check_trackers(["tensorboard"])
