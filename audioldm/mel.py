"""Log-mel front end of AudioLDM: centred STFT magnitude, slaney mel bands, natural logarithm.

    mel[t, b] = ln max(sum_f basis[b, f] |STFT[t, f]|, clamp)

STFT with a periodic Hann window of n_fft samples and reflected edges, one frame per hop_length samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .errors import CodecError
from .parts import shown

RANGES = {
    "sampling_rate": (1000, 1_000_000),
    "n_fft": (2, 65_536),
    "hop_length": (1, 65_536),
    "n_mels": (1, 4096),
    "fmin": (0.0, 1e6),
    "fmax": (1.0, 1e6),
    "clamp": (1e-30, 1.0),
}
REAL = ("fmin", "fmax", "clamp")


@dataclass(frozen=True)
class MelConfig:
    """The front end's numbers; the defaults are those of the released AudioLDM checkpoint."""

    sampling_rate: int = 16000  # Hz
    n_fft: int = 1024  # samples, also the window length
    hop_length: int = 160  # samples per frame
    n_mels: int = 64
    fmin: float = 0.0  # Hz
    fmax: float = 8000.0  # Hz
    clamp: float = 1e-5  # smallest magnitude before the logarithm

    def __post_init__(self) -> None:
        """Raises CodecError for a value of the wrong type or out of range."""
        for name, (low, high) in RANGES.items():
            value, whole = getattr(self, name), name not in REAL
            kinds = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                what = "a whole number" if whole else "a number"
                raise CodecError(f"the mel's {name} is {shown(value)}; it must be {what} from {low:g} to {high:g}")
        if self.n_fft % 2:
            raise CodecError(f"the mel's n_fft is {self.n_fft}; it must be even")
        if self.fmin >= self.fmax:
            raise CodecError(f"the mel's fmin, {self.fmin:g} Hz, must lie below its fmax, {self.fmax:g} Hz")


class LogMel(nn.Module):
    """Waveform [B, samples] -> log-mel [B, 1, T, n_mels], T = samples // hop_length."""

    def __init__(self, config: MelConfig | None = None) -> None:
        super().__init__()
        import torchaudio  # latents can be had without sounds, and then without it

        self.config = config = config or MelConfig()
        basis = torchaudio.functional.melscale_fbanks(
            config.n_fft // 2 + 1,
            config.fmin,
            config.fmax,
            config.n_mels,
            config.sampling_rate,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("basis", basis, persistent=False)  # [bins, n_mels]
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def frames(self, samples: int) -> int:
        """Number of mel frames of a waveform of `samples` samples."""
        return samples // self.config.hop_length

    def magnitude(self, waveform: Tensor) -> Tensor:
        """STFT magnitudes [B, T, n_fft // 2 + 1] of a waveform [B, samples]; the frame after the end is cut.

        Raises CodecError for a waveform of the wrong rank or too short to be reflected at its edges.
        """
        config = self.config
        if waveform.ndim != 2:
            raise CodecError(f"a waveform batch must be [batch, samples], not {tuple(waveform.shape)}")
        if waveform.shape[1] <= config.n_fft // 2:
            raise CodecError(
                f"{waveform.shape[1]} samples are too few for log-mels; {config.n_fft // 2 + 1} are needed"
            )
        spectrum = torch.stft(
            waveform.float(),
            config.n_fft,
            config.hop_length,
            window=self.window.float(),
            center=True,
            return_complex=True,
        )
        return spectrum.abs().transpose(1, 2)[:, : self.frames(waveform.shape[1])]

    def log_magnitude(self, waveform: Tensor) -> Tensor:
        """Natural logarithm of the clamped STFT magnitudes, [B, T, n_fft // 2 + 1]."""
        return self.magnitude(waveform).clamp_min(self.config.clamp).log()

    def forward(self, waveform: Tensor) -> Tensor:
        """Log-mel [B, 1, T, n_mels] of a waveform [B, samples] in [-1, 1]."""
        return (self.magnitude(waveform) @ self.basis.float()).clamp_min(self.config.clamp).log()[:, None]
