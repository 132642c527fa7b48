"""The CSV, the table and the lines of the plot, on made-up results."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from soundctm.evaluation.models.generation import Generated, Setting
from soundctm.evaluation.models.sweep.plot import lines, quality_plot
from soundctm.evaluation.models.sweep.results import Measured, csv_text, markdown
from soundctm.evaluation.statistics.result import Score

ONE = Setting.student("ema", "deterministic", 1, 3.5, 1.0, 0.5)
TEACHER = Setting.teacher(40, 3.5)


def result(setting, fad, seconds, **more):
    return Measured(Generated(setting, Path(setting.name), seconds, "cpu, 2 threads"), {"FAD": Score(fad, **more)})


def student(sampler, steps, omega=3.5, nu=1.0):
    return Setting.student("ema", sampler, steps, omega, nu, 0.5)


def test_csv_holds_settings_times_and_intervals():
    results = [
        Measured(Generated(student("gamma_multistep", 2), Path(), 0.25, "cpu, 2 threads"),
               {"FAD": Score(12.5, 11.0, 14.0), "IS": Score(3.0)}, {"class accuracy": 0.5}),
        result(TEACHER, 10.0, 4.0),
    ]  # fmt: skip
    first, second = csv.DictReader(io.StringIO(csv_text(results)))
    assert first == {
        "setting": "ema_gamma_multistep_2_omega3.5_gamma0.5", "weights": "ema", "sampler": "gamma_multistep",
        "steps": "2", "omega": "3.5", "nu": "1", "gamma": "0.5", "network_calls": "2", "seconds_per_clip": "0.25",
        "machine": "cpu, 2 threads", "FAD": "12.5", "FAD_low": "11", "FAD_high": "14", "IS": "3", "IS_low": "",
        "IS_high": "", "class accuracy": "0.5",
    }  # fmt: skip
    assert (second["sampler"], second["nu"], second["gamma"], second["IS"]) == ("heun", "", "", "")
    assert second["network_calls"] == "158" and second["class accuracy"] == ""


def test_the_table_begins_with_real_clips_and_ends_with_remarks():
    results = [result(ONE, 20.0, 0.1, low=18.0, high=22.0)]
    text = markdown(results, ["measured on nothing"], {"FAD": Score(5.0)}, {})
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1
    assert rows[2].startswith("| real clips |") and rows[2].endswith("| 5 |")
    assert rows[3] == "| ema | deterministic | 1 | 3.5 | 1 | 1 | 0.1 | 20 (18 to 22) |"
    assert text.endswith("- measured on nothing\n")


def test_every_sampler_starts_at_the_one_jump_that_they_share():
    settings = [student("cm_multistep", 4), ONE, student("deterministic", 2), student("deterministic", 2, 5.0)]
    settings += [student("deterministic", 2, nu=1.5), TEACHER, Setting.teacher(10, 3.5), Setting.teacher(10, 2.0)]
    results = [result(setting, 10.0, 1.0) for setting in settings]
    drawn = {
        name: [r.generated.setting.steps for r in members] for name, members in lines(results, ONE, TEACHER).items()
    }
    assert drawn == {"student, cm_multistep": [1, 4], "student, deterministic": [1, 2], "teacher, Heun": [10, 40]}
    assert list(lines([results[1]], ONE, None)) == ["student, deterministic"]


def test_the_plot_shows_points_lines_and_the_floor():
    results = [result(ONE, 30.0, 0.1, low=25.0, high=35.0), result(student("deterministic", 4), 20.0, 0.2)]
    more = [*results, result(student("deterministic", 4, 5.0), 25.0, 0.2), result(TEACHER, 10.0, 4.0)]
    few, all_of_them, floor = (
        np.asarray(Image.open(io.BytesIO(quality_plot(*given))).convert("RGB"))
        for given in (
            (results, "FAD", ONE, None, None),
            (more, "FAD", ONE, TEACHER, None),
            (more, "FAD", ONE, TEACHER, Score(5.0)),
        )
    )
    assert few.shape == all_of_them.shape == floor.shape == (500, 800, 3)
    assert few.std() > 10 and (few != all_of_them).any() and (floor != all_of_them).any()
