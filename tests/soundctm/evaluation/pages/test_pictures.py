"""Sheets have the size of their rows, one scale of colours for all, and thumbnails are small."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from soundctm.evaluation.pages import pictures
from soundctm.evaluation.pages.class_shares import class_share_chart, class_shares
from soundctm.evaluation.pages.sounds import NamedSound

RATE = 16000


def tone(hertz=1000.0, level=0.5, seconds=0.64, name="tone"):
    t = np.arange(round(RATE * seconds)) / RATE
    return NamedSound(name, (level * np.sin(2 * np.pi * hertz * t)).astype("f4"), RATE)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def cell(image, row, column):
    """The pixels inside one spectrogram of a sheet."""
    p, dots = pictures, 100
    top = p.HEAD + row * (p.ABOVE + p.CELL_HEIGHT + p.BETWEEN) + p.ABOVE
    left = p.LEFT + column * (p.CELL_WIDTH + p.RIGHT)
    rows = slice(round(top * dots) + 4, round((top + p.CELL_HEIGHT) * dots) - 4)
    return image[rows, round(left * dots) + 4 : round((left + p.CELL_WIDTH) * dots) - 4]


def test_a_sheet_grows_with_its_rows_and_shows_each_sound_in_its_place():
    low, high = tone(300.0), tone(5000.0)
    one = pixels(pictures.spectrogram_sheet([[low, high]], ["reference", "generated"]))
    two = pixels(pictures.spectrogram_sheet([[low, high], [high, None]], ["reference", "generated"]))
    assert one.shape[1] == two.shape[1]
    assert two.shape[0] - one.shape[0] == round(100 * (pictures.ABOVE + pictures.CELL_HEIGHT + pictures.BETWEEN))

    def brightest_row(row, column):
        return cell(two, row, column).sum((1, 2)).argmax() / cell(two, row, column).shape[0]

    assert brightest_row(0, 0) > 0.7 and brightest_row(0, 1) < 0.4 and brightest_row(1, 0) < 0.4
    assert (cell(two, 1, 1) > 250).all(), "the empty place is not white"


def test_a_quiet_sound_is_darker_than_a_loud_one():
    image = pixels(pictures.spectrogram_sheet([[tone(), tone(level=0.005)]], ["loud", "quiet"]))
    loud, quiet = (cell(image, 0, column).sum(2).max() for column in (0, 1))
    assert quiet < 0.75 * loud


def test_names_are_no_formulas_and_silence_is_drawn():
    silence = NamedSound("$\\frac{1}$ <script> \u96f7", np.zeros(4000, np.float32), RATE)
    image = pixels(pictures.spectrogram_sheet([[silence]], ["cost $5 or $6"]))
    assert cell(image, 0, 0).max() < 60


@pytest.mark.parametrize("rows", [[], [[None]], [[tone(), tone()]], [[tone()], [NamedSound("x", tone().audio, 8000)]]])
def test_a_sheet_refuses_what_it_cannot_show(rows):
    with pytest.raises(ValueError, match="sounds"):
        pictures.spectrogram_sheet(rows, ["one"])


def test_a_thumbnail_is_small_and_has_low_frequencies_below():
    noise = NamedSound("noise", np.random.default_rng(0).standard_normal(40960).astype("f4") * 0.1, RATE)
    assert len(pictures.thumbnail(noise)) < 6000
    image = pixels(pictures.thumbnail(tone(300.0)))
    assert image.shape == (64, 192, 3) and image.sum((1, 2)).argmax() > 45


def test_class_shares_of_known_logits():
    logits = torch.tensor([[5.0, 1, 0], [0, 2, 9], [4, 3, 2], [1, 0, -1]])
    assert class_shares(logits).tolist() == [0.75, 0.0, 0.25]


def test_the_chart_has_a_bar_per_class_that_was_heard():
    heard = class_shares(torch.eye(30)[:3])
    few = pixels(class_share_chart([f"$class_{k}" for k in range(30)], heard, heard))
    everything = class_shares(torch.eye(30))
    many = pixels(class_share_chart([f"class {k}" for k in range(30)], heard, everything))
    assert few.shape == (round(100 * (1.2 + 3 * 0.32)), 800, 3)
    assert many.shape == (round(100 * (1.2 + 21 * 0.32)), 800, 3)  # twenty classes and all others
    red = np.array([200, 85, 61])
    assert (np.abs(few - red).max(2) < 12).any()
