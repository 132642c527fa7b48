"""Pictures of clips: mel spectrogram in dB over time."""

from __future__ import annotations

import io
import os
import textwrap
import warnings

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from soundctm.data.names import shown
from soundctm.files import write_whole
from soundctm.mels import MELS, RANGE_DB, mel_db, ticks

COLOURS = "magma"


def draw_levels(axes: Axes, levels: np.ndarray, seconds: float, sampling_rate: int) -> AxesImage:
    """Show `levels` [MELS, frames] (dB, 0 is the loudest) over `seconds`; the mel-spaced axis has labels in Hz."""
    image = axes.imshow(
        levels, origin="lower", aspect="auto", cmap=COLOURS, extent=(0.0, seconds, 0.0, MELS), vmin=-RANGE_DB, vmax=0.0
    )
    named = ticks(sampling_rate)
    axes.set_yticks([place * MELS for _, place in named], labels=[str(hz) for hz, _ in named])
    return image


def write_title(axes: Axes, title: str, length: int = 90, size: float = 10.0) -> None:
    """A title of at most `length` characters in which nothing is taken for a formula."""
    axes.set_title(textwrap.shorten(shown(title), length, placeholder="..."), fontsize=size, parse_math=False)


class ShownFigure(Figure):
    """A figure that Jupyter shows as it is, without pyplot."""

    def _repr_png_(self) -> bytes:
        return png_bytes(self)


def new_figure(width: float, height: float, **settings) -> Figure:
    """A figure of `width` by `height` inches at 100 dots each, without pyplot's global state."""
    figure = ShownFigure(figsize=(width, height), dpi=100, **settings)
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks are drawn as boxes
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save_spectrogram(path: str | os.PathLike, audio: np.ndarray, sampling_rate: int, title: str) -> None:
    """Write a PNG through a temporary name."""
    write_whole(path, png_bytes(spectrogram_figure(audio, sampling_rate, title)))


def spectrogram_figure(audio: np.ndarray, sampling_rate: int, title: str) -> Figure:
    """The mel spectrogram of `audio` [samples] below its title."""
    figure = new_figure(7.0, 3.2, layout="constrained")
    axes = figure.subplots()
    image = draw_levels(axes, mel_db(audio, sampling_rate), len(audio) / sampling_rate, sampling_rate)
    axes.set_xlabel("seconds")
    axes.set_ylabel("Hz")
    write_title(axes, title)
    figure.colorbar(image, ax=axes, label="dB")
    return figure
