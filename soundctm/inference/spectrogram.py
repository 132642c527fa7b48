"""Pictures of clips: mel spectrogram in dB over time."""

from __future__ import annotations

import os
import textwrap
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torchaudio.functional as F
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

FFT, HOP, MELS = 1024, 160, 128
RANGE_DB = 80.0  # below the loudest point


def mel_db(audio: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Power of `audio` [samples] on slaney mels, dB below its maximum [MELS, frames]; silence is -RANGE_DB."""
    wave = torch.as_tensor(np.asarray(audio, np.float32))
    window = torch.hann_window(FFT)
    power = torch.stft(wave, FFT, HOP, window=window, pad_mode="constant", return_complex=True).abs().square()
    bank = F.melscale_fbanks(
        FFT // 2 + 1, 0.0, sampling_rate / 2, MELS, sampling_rate, norm="slaney", mel_scale="slaney"
    )
    mel = bank.T @ power
    top = mel.max().clamp(min=1e-10)
    return (10.0 * torch.log10((mel / top).clamp(min=10.0 ** (-RANGE_DB / 10.0)))).numpy()


def save_spectrogram(path: str | os.PathLike, audio: np.ndarray, sampling_rate: int, title: str) -> None:
    """Write a PNG through a temporary name. The axis of frequencies is mel-spaced with labels in Hz."""
    levels = mel_db(audio, sampling_rate)
    figure = Figure(figsize=(7.0, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    seconds = len(audio) / sampling_rate
    image = axes.imshow(
        levels, origin="lower", aspect="auto", cmap="magma", extent=(0.0, seconds, 0.0, MELS), vmin=-RANGE_DB
    )
    ticks = [hz for hz in (250, 500, 1000, 2000, 4000, 8000, 16000) if hz <= sampling_rate / 2]
    top = _slaney_mel(sampling_rate / 2)
    axes.set_yticks([_slaney_mel(hz) / top * MELS for hz in ticks], labels=[str(hz) for hz in ticks])
    axes.set_xlabel("seconds")
    axes.set_ylabel("Hz")
    axes.set_title(textwrap.shorten(title, 90, placeholder="..."), fontsize=10, parse_math=False)
    figure.colorbar(image, ax=axes, label="dB")
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:100]}.{os.getpid()}.png.tmp")
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore", UserWarning)  # letters that the font lacks are drawn as boxes
        figure.savefig(temporary, format="png")
    os.replace(temporary, path)


def _slaney_mel(hz: float) -> float:
    """Linear below 1 kHz, logarithmic above."""
    return hz / (200.0 / 3.0) if hz < 1000.0 else 15.0 + 27.0 * float(np.log(hz / 1000.0)) / float(np.log(6.4))
