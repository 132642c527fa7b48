"""Mel spectrograms to look at, in dB: on slaney mels, one frame every HOP samples unless another hop is asked for."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torchaudio.functional as F

FFT, HOP, MELS = 1024, 160, 128
RANGE_DB = 80.0  # below the loudest point
LEAST_TOP_DB = -30.0  # re a sine at full scale: quieter clips are not drawn as if they were loud
TICKS = (250, 500, 1000, 2000, 4000, 8000, 16000)  # Hz that an axis names


def mel_power(audio: np.ndarray, sampling_rate: int, hop: int = HOP) -> np.ndarray:
    """Power of `audio` [samples] on slaney mels [MELS, frames], one frame every `hop` samples."""
    wave = torch.as_tensor(np.asarray(audio, np.float32))
    window = torch.hann_window(FFT)
    power = torch.stft(wave, FFT, hop, window=window, pad_mode="constant", return_complex=True).abs().square()
    return (_bank(sampling_rate).T @ power).numpy()


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


def mel_db(audio: np.ndarray, sampling_rate: int, hop: int = HOP) -> np.ndarray:
    """`mel_power` of `audio` [samples] in dB [MELS, frames]; 0 is its own maximum, at least LEAST_TOP_DB."""
    power = mel_power(audio, sampling_rate, hop)
    return to_db(power, max(float(power.max()), full_scale(sampling_rate) * 10 ** (LEAST_TOP_DB / 10)))


def ticks(sampling_rate: int) -> list[tuple[int, float]]:
    """(Hz, place between 0, the bottom, and 1, the top) of the frequencies that an axis names."""
    top = slaney_mel(sampling_rate / 2)
    return [(hz, slaney_mel(hz) / top) for hz in TICKS if hz <= sampling_rate / 2]


def slaney_mel(hz: float) -> float:
    """Linear below 1 kHz, logarithmic above."""
    return hz / (200.0 / 3.0) if hz < 1000.0 else 15.0 + 27.0 * float(np.log(hz / 1000.0)) / float(np.log(6.4))


@functools.lru_cache(maxsize=8)
def _bank(sampling_rate: int) -> torch.Tensor:
    return F.melscale_fbanks(
        FFT // 2 + 1, 0.0, sampling_rate / 2, MELS, sampling_rate, norm="slaney", mel_scale="slaney"
    )
