"""Options of all trainings are checked before any work."""

import dataclasses
import importlib

import pytest

import ctm_train
from soundctm.training.tasks.distill import DistillConfig

CONFIGS = {name: getattr(importlib.import_module(module), kind) for name, (module, kind, _) in ctm_train.PARTS.items()}
NUMBERS = [
    (part, field.name)
    for part, config in CONFIGS.items()
    for field in dataclasses.fields(config)
    if str(field.type).split("[")[-1].split(",")[0] in ("int", "float")
]
WRONG = [
    ("--report_to foo", "no tracker 'foo'; they are wandb, tensorboard"),
    ("--lr -1", "lr is -1.0; it must be above 0"),
    ("--lr nan", "lr is nan; it must be a finite number"),
    ("--lr inf", "lr is inf; it must be a finite number"),
    ("--total_training_steps 0", "total_training_steps is 0; it must be at least 1"),
    ("--uncond_prob 1.5", "uncond_prob is 1.5; it must be at least 0 and at most 1"),
    ("--sigma_min 90", "sigma_min is 90.0; it must be below sigma_max, 80.0"),
    ("--mix_share 1", "mix_share is 1.0; it must be at least 0 and below 1"),
    ("--seed -1", "seed is -1; it must be at least 0"),
    ("--batch_size 1000000000000", "per_device_train_batch_size is 1000000000000; it must be at least 1 and at most"),
    ("--train_file no.csv", "no file at no.csv, given as --train_file"),
    ("--validation_file no.csv", "no file at no.csv, given as --validation_file"),
    ("--fad_reference no_folder", "no folder at no_folder, given as --fad_reference"),
    ("--fad_reference . --fad_extractor vgg", "vgg"),
    ("--resume_from_checkpoint no_folder", "no_folder is not a whole checkpoint"),
    ("--resume_from_checkpoint best", "none is the best"),
]


@pytest.mark.parametrize(("flags", "says"), WRONG)
def test_a_wrong_value_is_refused_before_any_work(flags, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("soundctm.training.tasks.distill.DistillTask.__init__", lambda *_: pytest.fail("work was done"))
    common = ["distill", "--output_dir", str(tmp_path / "run"), "--cpu", "true"]
    assert ctm_train.main([*common, *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("part", "name"), NUMBERS)
def test_no_number_takes_what_is_none(part, name, tmp_path, monkeypatch, capsys):
    """Every number of every training: NaN, infinity and absurdly negative values are one sentence that names it."""
    module = importlib.import_module(ctm_train.PARTS[part][0])
    monkeypatch.setattr(module, "train", lambda config: pytest.fail(f"{name} was taken"))
    for value in ("nan", "inf", "-1e400", "x"):
        assert ctm_train.main([part, f"--{name}={value}", "--output_dir", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and name in error and error.count("\n") == 1


def test_every_number_has_a_range_or_says_why_not():
    free = {"sigma_mean", "heun_step_multiplier"}  # any number
    own = {field.name for field in dataclasses.fields(DistillConfig.__mro__[-2])}  # DistillationConfig checks its own
    for part, name in NUMBERS:
        field = next(field for field in dataclasses.fields(CONFIGS[part]) if field.name == name)
        assert field.metadata["range"] or name in free | own, f"{part}: {name} has no range"
