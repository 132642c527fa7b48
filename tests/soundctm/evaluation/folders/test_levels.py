"""Offset, rumble, peak and loudness of sounds whose levels are known."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile
import torch
from evaluation_sounds import RATE, write_folder

from soundctm.evaluation.folders.levels import levels_of, main

TIME = torch.arange(2 * RATE) / RATE


def test_a_sine_with_an_offset():
    levels = levels_of("x", 0.1 + 0.5 * torch.sin(2 * torch.pi * 1000 * TIME), RATE)
    assert levels.offset == pytest.approx(0.1, abs=1e-6) and levels.peak == pytest.approx(0.6, abs=1e-4)
    assert levels.rumble == pytest.approx(0.01 / (0.01 + 0.125), abs=1e-4)
    assert levels.rms_db == pytest.approx(10 * math.log10(0.01 + 0.125), abs=1e-3)


def test_rumble_is_what_lies_below_hearing_and_loudness_is_that_of_the_standard():
    low = levels_of("x", 0.5 * torch.sin(2 * torch.pi * 20 * TIME), RATE)
    assert low.rumble == pytest.approx(1.0, abs=1e-6) and abs(low.offset) < 1e-6
    # BS.1770: a 997 Hz sine at full scale in one channel is -3.01 LUFS.
    sine = levels_of("x", torch.sin(2 * torch.pi * 997 * TIME), RATE)
    assert sine.rumble < 1e-6 and sine.lufs == pytest.approx(-3.01, abs=0.4)
    silence = levels_of("x", torch.zeros(RATE), RATE)
    assert silence.rms_db == -math.inf and silence.lufs is None and silence.rumble == 0
    assert levels_of("x", torch.ones(100), RATE).lufs is None


def test_the_command_sets_made_beside_real(tmp_path, capsys):
    real = write_folder(tmp_path / "real", 3)
    made = write_folder(tmp_path / "made", 3, change=lambda wave, rng: np.clip(wave + 0.03, -1, 1))
    soundfile.write(made / "loud.wav", np.ones(RATE) * np.sign(np.sin(np.arange(RATE) / 5)), RATE)
    output = tmp_path / "levels.jsonl"
    assert main(["--reference_dir", str(real), "--generated_dir", str(made), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "real, 3 clips" in printed and "made, 4 clips" in printed and "1 at full scale" in printed
    assert "3 above 0.005" in printed
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["folder"] for line in lines] == ["real"] * 3 + ["made"] * 4
    assert lines[3]["offset"] == pytest.approx(0.03 + lines[0]["offset"], abs=1e-3)
    assert main([]) == 2 and "give --generated_dir" in capsys.readouterr().err
