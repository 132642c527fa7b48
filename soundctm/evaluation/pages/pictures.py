"""Pictures for pages: a sheet of spectrograms on one colour scale, and spectrograms as small as a thumbnail."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image

from soundctm.evaluation.pages.sounds import NamedSound
from soundctm.inference.spectrogram import COLOURS, draw_levels, new_figure, png_bytes, write_title
from soundctm.mels import LEAST_TOP_DB, RANGE_DB, full_scale, mel_db, mel_power, to_db

CELL_WIDTH, CELL_HEIGHT = 4.2, 1.5  # inches of a spectrogram in a sheet, at 100 dots each
LEFT, RIGHT, ABOVE, BETWEEN, BELOW, HEAD = 0.6, 0.2, 0.25, 0.35, 0.5, 0.4  # inches around them
THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT, THUMBNAIL_LEVELS = 192, 64, 32  # pixels, pixels, colours


def spectrogram_sheet(rows: Sequence[Sequence[NamedSound | None]], columns: Sequence[str]) -> bytes:
    """A PNG with one row of spectrograms per row of sounds, side by side below the titles `columns`.

    All share the time axis (the longest sound) and the colours (dB below the loudest point of the whole sheet), so that
    levels can be compared; None leaves its place empty. Raises ValueError when there is no sound, when a row is longer
    or shorter than `columns`, and when sampling rates differ.
    """
    sounds = [sound for row in rows for sound in row if sound is not None]
    if not sounds or any(len(row) != len(columns) for row in rows):
        raise ValueError(f"a sheet needs sounds, and {len(columns)} in every row")
    if len({sound.sampling_rate for sound in sounds}) > 1:
        raise ValueError("the sounds of a sheet must have one sampling rate")
    powers = {id(sound): mel_power(sound.audio, sound.sampling_rate) for sound in sounds}
    floor = full_scale(sounds[0].sampling_rate) * 10 ** (LEAST_TOP_DB / 10)  # of silent clips alone
    top = max(floor, *(float(power.max()) for power in powers.values()))
    longest = max(sound.seconds for sound in sounds)

    width = LEFT + len(columns) * (CELL_WIDTH + RIGHT)
    height = HEAD + len(rows) * (ABOVE + CELL_HEIGHT + BETWEEN) + BELOW
    figure = new_figure(width, height)
    for c, title in enumerate(columns):
        centre = LEFT + c * (CELL_WIDTH + RIGHT) + CELL_WIDTH / 2
        figure.text(centre / width, 1 - 0.6 * HEAD / height, title, ha="center", fontsize=12, parse_math=False)
    for r, row in enumerate(rows):
        bottom = height - HEAD - r * (ABOVE + CELL_HEIGHT + BETWEEN) - ABOVE - CELL_HEIGHT
        for c, sound in enumerate(row):
            if sound is None:
                continue
            left = LEFT + c * (CELL_WIDTH + RIGHT)
            axes = figure.add_axes((left / width, bottom / height, CELL_WIDTH / width, CELL_HEIGHT / height))
            draw_levels(axes, to_db(powers[id(sound)], top), sound.seconds, sound.sampling_rate)
            axes.set_xlim(0.0, longest)
            axes.set_facecolor("lightgrey")  # beyond the end of a shorter sound
            axes.tick_params(labelsize=7, labelleft=c == 0)
            write_title(axes, sound.name, length=60, size=8.0)
            if r == len(rows) - 1:
                axes.set_xlabel("seconds", fontsize=8)
    return _fewer_colours(png_bytes(figure))


def thumbnail(sound: NamedSound) -> bytes:
    """A spectrogram without axes as a PNG of a few kilobytes: THUMBNAIL_WIDTH x THUMBNAIL_HEIGHT, few colours."""
    levels = mel_db(sound.audio, sound.sampling_rate)[::-1]  # low frequencies below
    steps = np.rint((levels / RANGE_DB + 1.0) * 255.0).astype(np.uint8)
    small = Image.fromarray(steps).resize((THUMBNAIL_WIDTH, THUMBNAIL_HEIGHT), Image.Resampling.BOX)
    image = Image.fromarray(np.asarray(small) // (256 // THUMBNAIL_LEVELS))
    colours = matplotlib.colormaps[COLOURS](np.linspace(0.0, 1.0, THUMBNAIL_LEVELS))[:, :3]
    image.putpalette(np.rint(colours * 255.0).astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _fewer_colours(png: bytes) -> bytes:
    """The same picture with a palette of 128 colours: a third of the size, for a colour map hardly a difference."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
