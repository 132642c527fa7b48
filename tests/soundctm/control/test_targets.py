"""Curves: values between points, every way of giving one, and one sentence for what is none."""

import pytest
import torch

from soundctm.control import SHAPES, Curve, Objective, onset_times, read_curve, shape
from soundctm.errors import UserError


def test_values():
    curve = Curve(((0.5, 10.0), (1.0, 20.0), (2.0, 0.0)))
    assert curve.at(torch.tensor([0.0, 0.5, 0.75, 1.5, 9.0])).tolist() == [10, 10, 15, 10, 0]
    assert Curve(((1.0, 3.0),)).at_frames(4).tolist() == [3] * 4
    assert Curve.sampled([0, 1, 4], 2.0).at(torch.tensor([1.0, 1.5])).tolist() == [1, 2.5]
    assert str(curve) == "0.5:10 1:20 2:0"


def test_reading(tmp_path):
    assert read_curve("0:-40, 1.2:-20", 2.0).points == ((0, -40), (1.2, -20))
    (tmp_path / "c.csv").write_text("time,value\n0,-40\n1.2,-20\n")
    assert read_curve(str(tmp_path / "c.csv"), 2.0) == read_curve("0:-40 1.2:-20", 2.0)
    for name in SHAPES:
        read_curve(name, 2.56).check(2.56)
    assert shape("rise", 2.0).at(torch.tensor([0.0, 2.0])).diff() > 0
    assert onset_times([0.0, 1.0]).at(torch.tensor([0.0, 0.5, 1.0])).tolist() == [12, 0, 12]


@pytest.mark.parametrize("text, words", [
    ("0:1 0:2", "two points at 0 s"), ("1:1 0:2", "must rise"), ("0:1 3:2", "goes to 3 s, but the clip has 2.5"),
    ("0:1 x", "is no point"), ("", "at least one"), ("-1:2", "from 0 on"), ("nothing.csv", "no file nothing.csv"),
    ("zigzag", "rise, fall"),
])  # fmt: skip
def test_refusals(text, words):
    with pytest.raises(UserError, match=words):
        read_curve(text, 2.5)


def test_bad_files_and_lengths(tmp_path):
    for content, words in (
        ("a,b\n1,2\n", "no column 'time'"),
        ("time,value\n1,x\n", "line 2"),
        ("time,value\n", "no rows"),
    ):
        (tmp_path / "c.csv").write_text(content)
        with pytest.raises(UserError, match=words):
            read_curve(str(tmp_path / "c.csv"), 2.5)
    with pytest.raises(UserError, match="the measure gives 5"):
        Objective(lambda s: s.waveform, torch.zeros(4)).error_of_waveform(torch.zeros(1, 5), 100)
    with pytest.raises(UserError, match="less than"):
        onset_times([1.0, 1.05])
