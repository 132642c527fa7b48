"""Every row of a manifest is made again by one command, as it was or with other settings."""

import csv


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
