"""Reading sound files the way the official models were trained on them.

"normalised", of SoundCTM at 16 kHz: the first channel, resampled (kaiser-windowed sinc, rolloff 0.95), with its mean
removed and its peak at 0.5, cut or zero-padded to a fixed length, and peak-normalised once more. Peaks are plain maxima
of |x|, so 0.5 is -6 dBFS. Silence and constants become zeros where the official reader divides by zero.

"plain", of SoundCTM-DiT at 44.1 kHz: all channels resampled (Hann-windowed sinc, rolloff 0.99), cut or zero-padded,
limited to [-1, 1], then their mean. A clip keeps its level.

Which of them a codec wants it says itself, in `reading`; `ClipForm` holds all that makes a clip of a sound.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from soundctm.data.resampling import resample
from soundctm.data.rumble import remove_rumble
from soundctm.errors import UserError

SAMPLING_RATE = 16_000  # Hz
PEAK = 0.5
# Below this share of the original peak, what is left after removing the mean is float32 rounding, not sound.
ROUNDING = 1e-6
ENORMOUS = 2.0**32  # samples beyond those of any integer format written as floats
STREAMED = 0xFFFF_0000  # bytes; a wav of unknown length says at least as many
AT_ONCE = 2**24  # samples, of all channels, that are read together
MOST_SAMPLES = 2**31  # of all channels; 12 hours of 48 kHz mono, 8 GiB as floats
READINGS = ("normalised", "plain")
LOUDEST = 100.0  # |sample| of a file that is read as it is; beyond, its samples are of another scale than [-1, 1]
LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000  # Hz that a sound file may say


def read_audio(path: str | os.PathLike, sampling_rate: int | None = None) -> Tensor:
    """Samples of a wav, flac, ogg or mp3 file as float32 [channels, n], resampled to `sampling_rate` in Hz if given.

    Integer formats are scaled to [-1, 1]. Raises UserError for a file that is missing, unreadable, empty or holds
    NaN or infinite samples.
    """
    samples, rate = _read(path)
    return samples if sampling_rate is None else resample(samples, rate, sampling_rate)


def load_clip(
    path: str | os.PathLike, num_samples: int, sampling_rate: int = SAMPLING_RATE, highpass: float = 0.0
) -> Tensor:
    """The file as one training clip: float32 [num_samples] at `sampling_rate` Hz. Raises UserError as `read_audio`.

    `highpass` in Hz takes rumble away (`remove_rumble`); 0 is the official reading.
    """
    return clip_of(*_read(path), num_samples, sampling_rate, highpass)


def clip_of(
    samples: Tensor, rate: int, num_samples: int, sampling_rate: int = SAMPLING_RATE, highpass: float = 0.0
) -> Tensor:
    """Decoded samples [channels, n] at `rate` Hz as one training clip: float32 [num_samples] at `sampling_rate` Hz."""
    first = samples[0]
    if first.max() == first.min():  # resampling would turn the ends of a constant into clicks
        return torch.zeros(num_samples)
    largest = first.abs().max()
    if largest > ENORMOUS:  # sums of such samples would overflow; the peak is set below
        first = first / largest
    return fit_clip(remove_rumble(resample(first, rate, sampling_rate), sampling_rate, highpass), num_samples)


@dataclasses.dataclass(frozen=True)
class ClipForm:
    """What a sound becomes before it is encoded: `num_samples` at `sampling_rate` Hz, read in one of `READINGS`.

    `highpass` in Hz takes rumble away (`remove_rumble`); 0 is the official reading.
    """

    num_samples: int
    sampling_rate: int = SAMPLING_RATE
    reading: str = READINGS[0]
    highpass: float = 0.0

    def load(self, path: str | os.PathLike) -> Tensor:
        """The file as a clip, float32 [num_samples]. Raises UserError as `read_audio`, and as `of`."""
        return self.of(*_read(path), str(path))

    def of(self, samples: Tensor, rate: int, name: str = "a sound") -> Tensor:
        """Decoded samples [channels, n] at `rate` Hz as a clip. Raises UserError where "plain" samples are no sound."""
        if self.reading == "normalised":
            return clip_of(samples, rate, self.num_samples, self.sampling_rate, self.highpass)
        check_scale(samples, name)
        sound = resample(samples, rate, self.sampling_rate, "plain")
        sound = remove_rumble(sound, self.sampling_rate, self.highpass)[:, : self.num_samples]
        return torch.nn.functional.pad(sound, (0, self.num_samples - sound.shape[1])).clamp(-1, 1).mean(0)

    @property
    def name(self) -> str:
        """For folders of what is made from such clips; what is as in the first release is left out."""
        parts = [str(self.num_samples)]
        if self.sampling_rate != SAMPLING_RATE:
            parts.append(f"at{self.sampling_rate}")
        if self.reading != READINGS[0]:
            parts.append(self.reading)
        return "-".join(parts + ([f"{self.highpass:g}Hz"] if self.highpass else []))


def check_scale(samples: Tensor, name: str) -> None:
    """Raises UserError where samples that are read with their level, "plain", are those of another scale."""
    if (largest := samples.abs().max()) > LOUDEST:
        raise UserError(f"{name} peaks at {largest:.3g}, and its level is kept; samples must lie in [-1, 1]")


def fit_clip(waveform: Tensor, num_samples: int) -> Tensor:
    """Mean removed, peak 0.5, cut or zero-padded to `num_samples`, peak 0.5 again: [n] -> [num_samples]."""
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}; it must be positive")
    waveform = normalise_peak(remove_mean(waveform))[:num_samples]
    return normalise_peak(torch.nn.functional.pad(waveform, (0, num_samples - waveform.numel())))


def remove_mean(waveform: Tensor) -> Tensor:
    """The waveform [n] less its mean; exact zeros where nothing but rounding is left."""
    if waveform.numel() == 0:
        return waveform
    centred = waveform - waveform.mean()
    if centred.abs().max() <= ROUNDING * waveform.abs().max():
        return torch.zeros_like(waveform)
    return centred


def normalise_peak(waveform: Tensor, peak: float = PEAK) -> Tensor:
    """The waveform scaled so that its largest |sample| is `peak`; silence stays silence."""
    largest = waveform.abs().max() if waveform.numel() else torch.zeros(())
    if largest == 0:
        return waveform
    return waveform / largest * peak


def decode_audio(
    file: str | os.PathLike | BinaryIO, name: str, *, whole: bool = False, seconds: float | None = None
) -> tuple[Tensor, int]:
    """Samples float32 [channels, n] and rate in Hz of a wav, flac, ogg or mp3 file, `name` being its name in messages.

    With `whole`, a file that ends before its header says it does is an error, too. One that is longer than `seconds`,
    or has more than AT_ONCE samples with them, is refused before it is read further. Raises UserError as `read_audio`.
    """
    try:
        # As bytes, because soundfile cannot encode names that are no UTF-8.
        with soundfile.SoundFile(os.fsencode(file) if isinstance(file, str | os.PathLike) else file) as sound:
            expected, remarks, rate = sound.frames, sound.extra_info, sound.samplerate
            samples = _samples(sound) if seconds is None else _first_samples(sound, name, seconds)
    except (soundfile.SoundFileError, RuntimeError) as error:
        known = "wav, flac, ogg and mp3 are known"
        raise UserError(f"{name} cannot be read as a sound file ({known}): {reason_of(error)}") from error
    if whole and (len(samples) < expected or _says_truncated(remarks)):
        raise UserError(f"{name} is truncated: it ends before its header says")
    if len(samples) == 0:
        raise UserError(f"{name} holds no samples")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UserError(f"{name} says {rate} Hz; rates from {LOWEST_RATE} to {HIGHEST_RATE} Hz are read")
    waveform = torch.from_numpy(samples.T.copy())
    if not torch.isfinite(waveform).all():
        raise UserError(f"{name} holds NaN or infinite samples")
    return waveform, int(rate)


def _samples(sound: soundfile.SoundFile) -> np.ndarray:
    """All samples [n, channels], read in blocks: a header may say any number of them, whatever the file holds."""
    if sound.frames * sound.channels <= AT_ONCE:
        return sound.read(dtype="float32", always_2d=True)
    blocks, number = [], max(1, AT_ONCE // sound.channels)
    held = 0
    while len(block := sound.read(number, dtype="float32", always_2d=True)):
        blocks.append(block)
        held += block.size
        if held > MOST_SAMPLES:
            raise RuntimeError(f"it holds more than {MOST_SAMPLES} samples, the most that are read")
        if len(block) < number:
            break
    return np.concatenate(blocks) if blocks else np.zeros((0, sound.channels), np.float32)


def _first_samples(sound: soundfile.SoundFile, name: str, seconds: float) -> np.ndarray:
    """All samples [n, channels] of at most `seconds`, whatever the header says."""
    most = int(seconds * sound.samplerate) + 1
    if most * sound.channels > AT_ONCE:  # of a rate or a number of channels that nobody has
        most = min(most, AT_ONCE // sound.channels)
    samples = sound.read(most + 1, dtype="float32", always_2d=True)
    if len(samples) > most:
        raise UserError(f"{name} is longer than {most / sound.samplerate:.3g} s, the most that is read of it")
    return samples


def reason_of(error: Exception) -> str:
    """What libsndfile says is wrong: its sentences begin with the file, or the address of the object, that was read."""
    return str(error).rsplit(": ", 1)[-1].strip()


def _says_truncated(remarks: str) -> bool:
    """Does libsndfile's log of a header say that data are missing? Sizes near 2^32 are those of streamed wavs."""
    sizes = re.search(r"^data : (\d+) \(should be (\d+)\)", remarks, re.MULTILINE)
    missing = sizes is not None and int(sizes[2]) < int(sizes[1]) < STREAMED
    return missing or "File ended unexpectedly without an End-Of-Stream flag" in remarks


def _read(path: str | os.PathLike) -> tuple[Tensor, int]:
    path = Path(path)
    if not os.path.isfile(path):  # no error for a name that is too long
        raise UserError(f"no sound file at {path}")
    return decode_audio(path, str(path))
