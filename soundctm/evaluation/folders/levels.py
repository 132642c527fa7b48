"""Levels of made clips beside those of real ones: offset, rumble, peak, loudness. No network, seconds for a folder.

    python -m soundctm.evaluation.folders.levels --reference_dir outputs/reference --generated_dir outputs/test_clips

Scores do not show an offset or a clip that is turned down: YAMNet hears nothing below 125 Hz, and other extractors
normalise. Per folder the table has the median over clips, the worst clip, and how many stand out. Loudness is that of
ITU-R BS.1770 (LUFS), for clips of 0.4 s and more.
"""

from __future__ import annotations

import json
import logging
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torchaudio

from soundctm.command import run_module
from soundctm.config import option
from soundctm.data.audio import decode_audio
from soundctm.data.names import shown
from soundctm.errors import UserError
from soundctm.evaluation.folders.clips import SILENCE, clip_name, list_clips
from soundctm.files import write_whole

log = logging.getLogger(__name__)

RUMBLE = 25.0  # Hz, below which nobody hears a clip of some seconds
FULL_SCALE = 0.999  # peak from which a clip touches full scale, or was turned down to it
OFFSET = 0.005  # share of full scale
MUCH_RUMBLE = 0.05  # share of a clip's energy
SHORTEST_LOUD = 0.4  # seconds, of the block that BS.1770 measures


@dataclass(frozen=True)
class LevelOptions:
    """One run of `python -m soundctm.evaluation.folders.levels`."""

    generated_dir: str | None = option(None, "folder of generated clips: wav, flac, ogg, mp3")
    reference_dir: str | None = option(None, "folder of real clips to stand beside them")
    output: str | None = option(None, "JSON lines, one per clip, if wanted")

    def __post_init__(self) -> None:
        if self.generated_dir is None:
            raise UserError("nothing to measure: give --generated_dir, a folder of sound files")


@dataclass(frozen=True)
class Levels:
    """One clip: mean, share of its energy (the mean's included) below RUMBLE Hz, largest |sample|, dB and LUFS."""

    name: str
    offset: float
    rumble: float
    peak: float
    rms_db: float  # re full scale, -inf for silence
    lufs: float | None  # None for a short or silent clip


def levels_of(name: str, waveform: torch.Tensor, sampling_rate: int) -> Levels:
    """Levels of a waveform [n]."""
    wave = waveform.double()
    energy = torch.fft.rfft(wave).abs().square()
    energy[1:] *= 2  # of the negative frequencies, too
    frequency = torch.fft.rfftfreq(len(wave), 1 / sampling_rate)
    total, low = float(energy.sum()), float(energy[frequency < RUMBLE].sum())
    peak, rms = float(wave.abs().max()), float(wave.square().mean().sqrt())
    loudness = None
    if len(wave) >= SHORTEST_LOUD * sampling_rate and peak > SILENCE:
        measured = float(torchaudio.functional.loudness(waveform[None].float(), sampling_rate))
        loudness = measured if math.isfinite(measured) else None
    rms_db = 20 * math.log10(rms) if rms > 0 else -math.inf
    return Levels(name, float(wave.mean()), low / total if total else 0.0, peak, rms_db, loudness)


def folder_levels(folder: str) -> list[Levels]:
    """Levels of every clip, first channel, at its own rate. Raises UserError as `list_clips` and `decode_audio`."""
    found = []
    for path in list_clips(folder):
        samples, rate = decode_audio(path, str(path))
        found.append(levels_of(clip_name(path, folder), samples[0], rate))
    return found


def table(folders: dict[str, Sequence[Levels]]) -> str:
    """For people: a line per measure, a column per folder with the median and what stands out."""
    rows = [["", *(f"{name}, {len(clips)} clips" for name, clips in folders.items())]]
    for title, describe in MEASURES.items():
        rows.append([title, *(describe(clips) for clips in folders.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def measure(options: LevelOptions) -> dict[str, list[Levels]]:
    """Print the table and write the lines. Raises UserError."""
    given = {"real": options.reference_dir, "made": options.generated_dir}
    folders = {name: folder_levels(folder) for name, folder in given.items() if folder is not None}
    print(shown(table(folders)))
    if options.output is not None:
        lines = [json.dumps({"folder": name, **_json(clip)}) for name, clips in folders.items() for clip in clips]
        write_whole(Path(options.output), "\n".join(lines) + "\n")
    return folders


def _json(clip: Levels) -> dict[str, object]:
    values = asdict(clip)
    return {key: None if value == -math.inf else value for key, value in values.items()}


def _offset(clips: Sequence[Levels]) -> str:
    worst = max(clips, key=lambda clip: abs(clip.offset))
    beyond = sum(abs(clip.offset) > OFFSET for clip in clips)
    middle = statistics.median(abs(clip.offset) for clip in clips)
    return f"{middle:.5f}; {beyond} above {OFFSET}; most {worst.offset:.4f} ({worst.name})"


def _rumble(clips: Sequence[Levels]) -> str:
    worst = max(clips, key=lambda clip: clip.rumble)
    beyond = sum(clip.rumble > MUCH_RUMBLE for clip in clips)
    middle = statistics.median(clip.rumble for clip in clips)
    return f"{middle:.2%}; {beyond} above {MUCH_RUMBLE:.0%}; most {worst.rumble:.1%} ({worst.name})"


def _peak(clips: Sequence[Levels]) -> str:
    full, silent = (sum(test(clip) for clip in clips) for test in (_is_full, _is_silent))
    return f"{statistics.median(clip.peak for clip in clips):.3f}; {full} at full scale; {silent} silent"


def _loudness(clips: Sequence[Levels]) -> str:
    known = sorted(clip.lufs for clip in clips if clip.lufs is not None)
    return f"{statistics.median(known):.1f}; {known[0]:.1f} to {known[-1]:.1f}" if known else "none long enough"


def _rms(clips: Sequence[Levels]) -> str:
    return f"{statistics.median(clip.rms_db for clip in clips):.1f}"


def _is_full(clip: Levels) -> bool:
    return clip.peak >= FULL_SCALE


def _is_silent(clip: Levels) -> bool:
    return clip.peak <= SILENCE


MEASURES: dict[str, Callable[[Sequence[Levels]], str]] = {
    "offset (mean), median of |x|": _offset,
    f"energy below {RUMBLE:g} Hz": _rumble,
    "peak": _peak,
    "RMS, dB re full scale": _rms,
    "loudness, LUFS": _loudness,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit code is that of `run_module`."""
    return run_module("soundctm.evaluation.folders.levels", __doc__, LevelOptions, measure, arguments)


if __name__ == "__main__":
    sys.exit(main())
