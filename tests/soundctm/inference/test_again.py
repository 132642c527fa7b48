"""Every row of a manifest is made again by one command, as it was or with other settings."""

import csv
import dataclasses

import pytest

from soundctm.inference.manifest import Manifest


def manifest(folder):
    with open(folder / "manifest.csv", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def without_time(rows):
    return {name: {k: v for k, v in row.items() if k != "generation_seconds"} for name, row in rows.items()}


def test_all_rows_and_one_row(infer, tmp_path):
    made, again, one, finer = (tmp_path / name for name in ("out", "again", "one", "finer"))
    assert (
        infer(
            "--prompt",
            "rain",
            "--prompt",
            "a bell, far",
            "--num_samples",
            "2",
            "--sampler",
            "gamma_multistep",
            "--sampling_gamma",
            "0.3",
            "--nu",
            "1.5",
            "--omega",
            "none",
            "--sampling_rate",
            "8000",
        )
        == 0
    )
    source = str(made / "manifest.csv")
    assert infer("--manifest", source, "--output_dir", str(again)) == 0
    assert without_time(manifest(again)) == without_time(manifest(made)) and len(manifest(again)) == 4
    for name in manifest(made):
        assert (again / name).read_bytes() == (made / name).read_bytes()
    assert infer("--manifest", source, "--only", "rain_1.wav", "--output_dir", str(one)) == 0
    assert list(manifest(one)) == ["rain_1.wav"]
    assert infer("--manifest", source, "--num_steps", "16", "--output_dir", str(finer)) == 0
    (row,) = {(row["steps"], row["gamma"]) for row in manifest(finer).values()}
    assert row == ("16", "0.3")
    assert {row["seed"] for row in manifest(finer).values()} == {row["seed"] for row in manifest(made).values()}


def test_what_cannot_be_made_again_is_one_sentence(infer, tmp_path, capsys, checkpoint):
    assert infer("--prompt", "rain") == 0 and infer("--prompt", "wind", "--num_steps", "3") == 0
    source, other = str(tmp_path / "out" / "manifest.csv"), str(tmp_path / "other")
    for arguments, words in [
        (["--manifest", source], "the rows have steps 1 and 3; choose with --only, or give --num_steps"),
        (["--manifest", source, "--seed", "3"], "--seed is for new clips"),
        (["--manifest", source, "--only", "snow.wav"], "describes no snow.wav"),
        (["--manifest", "nowhere.csv"], "no manifest at nowhere.csv"),
        (["--prompt", "rain", "--only", "rain.wav"], "--only chooses rows"),
    ]:
        assert infer(*arguments, "--output_dir", other) == 2
        assert words in capsys.readouterr().err
    (checkpoint / "ema" / "weights.safetensors").write_bytes(b"1" * 300_000)
    assert infer("--manifest", source, "--only", "wind.wav", "--output_dir", other) == 0


@pytest.mark.parametrize(
    "change, words",
    [
        ({"file": "../../escaped.wav"}, "'../../escaped.wav' leads out of its folder"),
        ({"file": "/tmp/escaped.wav"}, "is an absolute path"),
        ({"seed": "9" * 5000}, "it must be a whole number"),
        ({"seed": "\u0663"}, "it must be a whole number"),
        ({"omega": "3,5"}, "omega"),
        ({"nu": "nan"}, "nu"),
        ({"steps": "x"}, "num_steps"),
        ({"steering": "[" * 60_000}, "column steering is nested"),
        ({"steering": '{"strength": [1]}'}, "strength"),
        ({"steering": '{"unheard": 1}'}, "unknown options"),
        ({"caption": "x" * 200_000}, "is no table: field larger"),
    ],
)
@pytest.mark.parametrize("how", ["manifest", "refine"])
def test_a_manifest_of_a_stranger_writes_nothing_outside_and_is_refused_in_a_line(
    infer, tmp_path, capsys, change, words, how
):
    assert infer("--prompt", "rain") == 0
    own = Manifest(tmp_path / "out")
    (entry,) = own.read().values()
    own.path.unlink()
    hostile = Manifest(tmp_path / "hostile")
    hostile.append(dataclasses.replace(entry, **change))
    source = str(hostile.path) + (":1" if how == "refine" else "")
    arguments = [
        "--refine" if how == "refine" else "--manifest",
        source,
        "--output_dir",
        str(tmp_path / "a" / "b" / "c"),
    ]
    before = {path for path in tmp_path.rglob("*")}
    code = infer(*arguments)
    said = capsys.readouterr().err
    if not (how == "refine" and "steps" in change):  # --refine has steps of its own
        assert code == 2 and words in said and said.strip().count("\n") <= 1, said
        assert not [path for path in tmp_path.rglob("*.wav") if path not in before]
    assert not [path for path in tmp_path.rglob("*escaped*")]


def test_damaged_lines_of_a_manifest_are_told_and_passed_over(infer, tmp_path, caplog):
    assert infer("--prompt", "rain") == 0
    path = tmp_path / "out" / "manifest.csv"
    path.write_bytes(path.read_bytes() + b"b.wav,\xff half\n")
    assert list(Manifest(tmp_path / "out").read()) == ["rain.wav"]
    assert "1 damaged lines are passed over" in caplog.text
    assert infer("--prompt", "rain") == 0 and path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("option, most", [("num_samples", 100_000), ("num_steps", 10_000)])
def test_numbers_without_reason_are_refused_before_any_work(infer, capsys, option, most):
    assert infer("--prompt", "rain", f"--{option}", "1000000000") == 2
    assert f"{option} is 1000000000; it must be at most {most}" in capsys.readouterr().err
