"""What an extractor hears of a file: channels, rate, kernel, level. Its numbers depend on it as on its weights."""

from __future__ import annotations

from dataclasses import dataclass

CHANNELS = {"first": "first", "mean": "mean of all", "stereo": "first two; one counts as both"}


@dataclass(frozen=True)
class Reading:
    """How a file becomes an extractor's waveform; the default is how the official 16 kHz evaluation reads one.

    channels: "first", "mean", or "stereo", which gives [2, samples] instead of [samples].
    band: Hz; a file of another rate is resampled to it first, which takes away what lies above band / 2.
    kernel: of `soundctm.data.resampling`.
    peak: where the largest |sample| is brought, in dB of full scale, None to keep the level; `peak_first`: of the file
    before anything else, otherwise of the finished waveform. Silence stays silent.
    int16: rounded as 16-bit samples are, towards zero.
    """

    sampling_rate: int  # Hz
    channels: str = "first"
    kernel: str = "official"
    band: int | None = None
    peak: float | None = None
    peak_first: bool = False
    int16: bool = False

    @property
    def resampler(self) -> str:
        """In words, for reports."""
        from soundctm.data.resampling import KERNELS  # torch takes a second to import

        by = "" if self.band is None else f", by way of {self.band} Hz"
        return f"{KERNELS[self.kernel]}{by}"

    @property
    def level(self) -> str:
        """In words, for reports."""
        parts = []
        if self.peak is not None:
            parts.append(f"peak {self.peak:g} dB {'before' if self.peak_first else 'after'} resampling")
        if self.int16:
            parts.append("through 16-bit samples")
        return ", ".join(parts) or "as in the file"

    @property
    def text(self) -> str:
        """All of it in one line."""
        return f"{CHANNELS[self.channels]} channel, {self.resampler}, {self.level}"
