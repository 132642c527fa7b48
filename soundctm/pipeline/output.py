"""What the pipeline gives back: clips that can be saved, heard and looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from soundctm.audioldm.library import BaseOutput
from soundctm.errors import UserError
from soundctm.files.sounds import check_sound_file, write_sound
from soundctm.inference.finishing import FinishingOptions, check_finishing, finish

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class SoundCTMOutput(BaseOutput):
    """`audios` float32 [n, samples] in [-1, 1] at `sampling_rate` Hz; `latents` [n, C, T/4, F] that they come from.

    With `output_type` "pt" the audios are a tensor, with "latent" they are the latents. `seeds` are those of the clips,
    where seeds made them; `scores` how well each agrees with its prompt, where they were ranked; `prompts` what was
    asked for. In Jupyter it shows players and spectrograms.
    """

    audios: np.ndarray | torch.Tensor | list[np.ndarray]
    sampling_rate: int
    latents: torch.Tensor
    seeds: list[int] | None = None
    scores: list[float] | None = None
    prompts: list[str] | None = None

    def waveform(self, index: int = 0) -> np.ndarray:
        """The samples of a clip, float32 [samples]. Raises UserError where there are only latents."""
        audio = self.audios[index]
        if audio.ndim != 1:
            raise UserError("these are latents, not sounds; make them with output_type 'np' or 'pt'")
        return audio.float().cpu().numpy() if isinstance(audio, torch.Tensor) else audio

    def save(self, path: str | os.PathLike, subtype: str | None = None) -> list[Path]:
        """Write the clips as wav, flac or ogg, by the ending of `path`; returns the files.

        One clip has that name; several are numbered: dog.wav, dog_1.wav, dog_2.wav for the second and third. `subtype`:
        "16" (default) or "24" bits of a sample, or "float" of a wav. Files of that name are replaced. Raises UserError.
        """
        first = Path(path)
        check_sound_file(first, subtype)
        names = [first, *(first.with_stem(f"{first.stem}_{k}") for k in range(1, len(self.audios)))]
        for index, name in enumerate(names):
            write_sound(name, self.waveform(index), self.sampling_rate, subtype)
        return names

    def finished(
        self, *, trim_onset: bool = False, loudness: float | None = None, fade_in: float = 0.0, fade_out: float = 0.0
    ) -> SoundCTMOutput:
        """The same clips as they are wanted in an edit; trimmed ones are a list of arrays of their own lengths.

        trim_onset: leave out what is before the sound begins. loudness: in LUFS, for example -23 (needs pyloudnorm).
        fade_in, fade_out: seconds. Raises UserError.
        """
        options = FinishingOptions(trim_onset, loudness, fade_in, fade_out)
        check_finishing(options)
        clips = [
            finish(self.waveform(index), self.sampling_rate, options=options)[0] for index in range(len(self.audios))
        ]
        audios = clips if trim_onset else np.stack(clips)
        return SoundCTMOutput(audios, self.sampling_rate, self.latents, self.seeds, self.scores, self.prompts)

    def spectrogram(self, index: int = 0, title: str | None = None) -> Figure:
        """The mel spectrogram of a clip as a figure of matplotlib; the prompt is above it unless `title` is given."""
        from soundctm.inference.spectrogram import spectrogram_figure  # matplotlib takes a second to import

        if title is None:
            title = self.prompts[index] if self.prompts else ""
        return spectrogram_figure(self.waveform(index), self.sampling_rate, title)

    def _repr_html_(self) -> str:
        """Players with spectrograms, for Jupyter."""
        from soundctm.evaluation.pages.players import players

        clips = [self.waveform(index) for index in range(len(self.audios))] if self.audios[0].ndim == 1 else []
        return players(clips, self.sampling_rate, self.prompts or [""] * len(clips))


def picked(made: SoundCTMOutput, rows: Sequence[int]) -> SoundCTMOutput:
    """The clips of the given rows, in that order."""

    def pick(values: list | None) -> list | None:
        return None if values is None else [values[row] for row in rows]

    return SoundCTMOutput(
        made.audios[list(rows)],
        made.sampling_rate,
        made.latents[list(rows)],
        pick(made.seeds),
        pick(made.scores),
        pick(made.prompts),
    )
