"""Scores of the clips that are made at validations."""

import numpy as np
import pytest

from soundctm.training.running.samples import PICTURES, frechet_distance, write_clips


def clips(seed, count, tone):
    rng = np.random.default_rng(seed)
    time = np.arange(16000) / 16000
    return 0.1 * rng.standard_normal((count, 16000)) + 0.4 * tone * np.sin(2 * np.pi * 440 * time)


def test_pictures_are_made_of_the_first_clips_only(tmp_path):
    write_clips(tmp_path, clips(0, PICTURES + 2, 0), [f"clip, {i}" for i in range(PICTURES + 2)], 16000)
    assert len(list(tmp_path.glob("*.wav"))) == PICTURES + 2 and len(list(tmp_path.glob("*.png"))) == PICTURES
    assert (tmp_path / "captions.csv").read_text().splitlines()[-1] == '09.wav,"clip, 9"'


def test_fad_is_lower_for_clips_that_are_alike(tmp_path):
    pytest.importorskip("soundctm.evaluation.folders.evaluate")
    for name, seed, tone in (("real", 0, 0), ("alike", 1, 0), ("other", 2, 1)):
        write_clips(tmp_path / name, clips(seed, 6, tone), [name] * 6, 16000)
    alike, other = (frechet_distance(tmp_path / name, str(tmp_path / "real"), "yamnet") for name in ("alike", "other"))
    assert 0 <= alike < other
