"""The number format of this machine: by trying, remembered, the same again, and never an error."""

import json

import pytest

from soundctm import precision
from soundctm.acceleration import rates

SLOW, FAST = {"float32": 1.0, "bfloat16": 1.1}, {"float32": 1.0, "bfloat16": 0.5}


@pytest.fixture
def trials(monkeypatch):
    """Results of the next trials; nothing is known yet."""
    found = []
    monkeypatch.setattr(rates, "_known", {})
    monkeypatch.setattr(rates, "measure", lambda: found.pop(0))
    return found


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [(FAST, "bfloat16"), (SLOW, "float32"), ({"float32": 1.0, "bfloat16": 0.84}, "float32"),
     ({"float32": 1.2, "bfloat16": 1.0}, "bfloat16")],
)  # fmt: skip
def test_another_format_must_gain(measured, chosen):
    assert rates.fastest(measured) == chosen


def test_it_is_measured_once_per_process_and_machine(trials, tmp_path, monkeypatch):
    trials += [FAST, SLOW]
    file = tmp_path / "below" / "rates.json"
    assert rates.cpu_rates(file) is rates.cpu_rates(file)
    rates._known.clear()
    assert rates.cpu_rates(file) == FAST  # from the file
    monkeypatch.setattr(rates, "machine", lambda: "another")
    assert rates.cpu_rates(file) == SLOW
    assert len(json.loads(file.read_text())) == 2


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"KEY": 1}', '{"KEY": {"float32": 1.0}}', '{"KEY": {"float32": 1.0, "bfloat16": -1.0}}',
     '{"KEY": {"float32": 1.0, "bfloat16": "x"}}', "\udcff"],
)  # fmt: skip
def test_a_file_that_tells_nothing_is_measured_again_and_replaced(trials, tmp_path, content):
    trials += [FAST]
    file = tmp_path / "rates.json"
    file.write_bytes(content.replace("KEY", rates.machine()).encode("utf-8", "surrogateescape"))
    assert rates.cpu_rates(file) == FAST
    assert json.loads(file.read_text())[rates.machine()] == FAST


def test_a_place_that_cannot_be_written_is_no_error(trials, tmp_path):
    trials += [FAST]
    (tmp_path / "taken").write_text("a file where a folder should be")
    assert rates.cpu_rates(tmp_path / "taken" / "rates.json") == FAST


def test_the_file_does_not_grow_without_end(trials, tmp_path):
    trials += [FAST]
    file = tmp_path / "rates.json"
    file.write_text(json.dumps({f"machine {k}": SLOW for k in range(100)}))
    rates.cpu_rates(file)
    assert len(json.loads(file.read_text())) == rates.MOST_ENTRIES


def test_a_real_trial_takes_some_milliseconds_and_knows_both_formats():
    found = rates.measure()
    assert set(found) == set(rates.FORMATS) and all(0 < seconds < 10 for seconds in found.values())


def test_auto_is_what_was_measured(monkeypatch):
    import torch

    for measured, dtype, name in ((FAST, torch.bfloat16, "bf16"), (SLOW, torch.float32, "no")):
        monkeypatch.setattr(rates, "_known", {rates.machine(): measured})
        assert precision.number_format("auto", "cpu") == dtype
        assert precision.resolve("auto", "cpu") == name
    assert precision.number_format("float16", "cpu") == torch.float16
