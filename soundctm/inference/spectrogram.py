"""Pictures of clips: mel spectrogram in dB over time."""

from __future__ import annotations

import functools
import io
import os
import textwrap
import warnings

import matplotlib
import numpy as np
import torch
import torchaudio.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from soundctm.data.names import shown
from soundctm.files import write_whole

FFT, HOP, MELS = 1024, 160, 128
RANGE_DB = 80.0  # below the loudest point
LEAST_TOP_DB = -30.0  # re a sine at full scale: quieter clips are not drawn as if they were loud
COLOURS = "magma"


def mel_power(audio: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Power of `audio` [samples] on slaney mels [MELS, frames], one frame every HOP samples."""
    wave = torch.as_tensor(np.asarray(audio, np.float32))
    window = torch.hann_window(FFT)
    power = torch.stft(wave, FFT, HOP, window=window, pad_mode="constant", return_complex=True).abs().square()
    bank = F.melscale_fbanks(
        FFT // 2 + 1, 0.0, sampling_rate / 2, MELS, sampling_rate, norm="slaney", mel_scale="slaney"
    )
    return (bank.T @ power).numpy()


@functools.lru_cache(maxsize=8)
def full_scale(sampling_rate: int) -> float:
    """The largest `mel_power` of a sine of about 1 kHz and amplitude 1."""
    frequency = np.round(1000.0 * FFT / sampling_rate) * sampling_rate / FFT
    time = np.arange(4 * FFT) / sampling_rate
    return float(mel_power(np.sin(2 * np.pi * frequency * time), sampling_rate).max())


def to_db(power: np.ndarray, top: float | None = None) -> np.ndarray:
    """`power` in dB below `top` (default: its own maximum), at least -RANGE_DB; silence is -RANGE_DB."""
    top = max(float(power.max()) if top is None else top, 1e-10)
    return 10.0 * np.log10(np.maximum(power / top, 10.0 ** (-RANGE_DB / 10.0)))


def mel_db(audio: np.ndarray, sampling_rate: int) -> np.ndarray:
    """`mel_power` of `audio` [samples] in dB [MELS, frames]; 0 is its own maximum, at least LEAST_TOP_DB."""
    power = mel_power(audio, sampling_rate)
    return to_db(power, max(float(power.max()), full_scale(sampling_rate) * 10 ** (LEAST_TOP_DB / 10)))


def draw_levels(axes: Axes, levels: np.ndarray, seconds: float, sampling_rate: int) -> AxesImage:
    """Show `levels` [MELS, frames] (dB, 0 is the loudest) over `seconds`; the mel-spaced axis has labels in Hz."""
    image = axes.imshow(
        levels, origin="lower", aspect="auto", cmap=COLOURS, extent=(0.0, seconds, 0.0, MELS), vmin=-RANGE_DB, vmax=0.0
    )
    ticks = [hz for hz in (250, 500, 1000, 2000, 4000, 8000, 16000) if hz <= sampling_rate / 2]
    top = _slaney_mel(sampling_rate / 2)
    axes.set_yticks([_slaney_mel(hz) / top * MELS for hz in ticks], labels=[str(hz) for hz in ticks])
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


def _slaney_mel(hz: float) -> float:
    """Linear below 1 kHz, logarithmic above."""
    return hz / (200.0 / 3.0) if hz < 1000.0 else 15.0 + 27.0 * float(np.log(hz / 1000.0)) / float(np.log(6.4))
