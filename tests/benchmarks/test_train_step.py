"""The benchmark of a step at its smallest size: equal losses, and the calls that the official way is known for."""

import re

import pytest

from benchmarks import train_step


def calls(line: str) -> dict[str, tuple[int, ...]]:
    found = re.findall(r"(teacher|student|target|text encoder) (\d+) calls of (\d+) samples(?:, (\d+) backward)?", line)
    return {name: tuple(map(int, filter(None, numbers))) for name, *numbers in found}


def test_both_ways_agree_and_call_the_networks_as_often_as_they_should(capsys):
    batch, steps = 3, 2
    ratios = train_step.main(f"--size tiny --cpu --repeats 1 --batch_size {batch} --solver_steps {steps}".split())
    lines = capsys.readouterr().out.splitlines()
    solver = (2 * steps, 4 * steps * batch)
    assert calls(lines[1]) == {
        "teacher": (solver[0] + 2, solver[1] + 2 * batch, 2),
        "student": (2, 2 * batch, 2),
        "target": (1, batch),
        "text encoder": (2 * steps + 5, (4 * steps + 5) * batch),
    }
    assert calls(lines[2]) == {
        "teacher": (solver[0] + 2, solver[1] + 2 * batch, 1),
        "student": (1, 2 * batch, 1),
        "target": (1, batch),
        "text encoder": (1, batch + 1),
    }
    assert float(lines[3].split(" agree to ")[1].split()[0]) <= 1e-4
    assert list(ratios) == ["official", "ours, heun"] and ratios["official"] == 1 and ratios["ours, heun"] > 0


def test_steps_on_stored_trajectories_are_timed_too(capsys):
    ratios = train_step.main("--size tiny --cpu --repeats 1 --solver_steps 2 --trajectories".split())
    assert list(ratios) == ["official", "ours, heun", "ours, stored trajectories"]
    assert float(re.search(r"once: ([\d.]+) s per clip", capsys.readouterr().out)[1]) > 0


def test_times_of_ways_that_disagree_are_not_given(monkeypatch, capsys):
    def wrong(self, *arguments):
        return {name: 1.1 * value for name, value in right(self, *arguments).items()}

    right = train_step.Bench.ours
    monkeypatch.setattr(train_step.Bench, "ours", wrong)
    with pytest.raises(train_step.UserError, match="do not agree"):
        train_step.main("--size tiny --cpu --repeats 1".split())
    assert "times as fast" not in capsys.readouterr().out
