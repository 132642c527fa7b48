"""Captions in, sounds out.

pipe = SoundCTMPipeline.from_pretrained("ckpt/mini")
out = pipe("a dog barking in the rain", seed=7)
soundfile.write("dog.wav", out.audios[0], out.sampling_rate)
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from soundctm.acceleration import Compiled, compile_pipeline, lay_out
from soundctm.checkpoints import Components, load_checkpoint, save_checkpoint
from soundctm.control.control import Control
from soundctm.defaults import SEED, Omega, SamplingWarning, Settings, settle
from soundctm.denoisers import Jump, StudentDenoiser, TeacherDenoiser, guided, guided_jump
from soundctm.devices import default_device
from soundctm.editing import operations
from soundctm.editing.clip import check_length, decode_loop
from soundctm.editing.sampling import Blend, Known, OnStep, Steering, sample
from soundctm.errors import UserError
from soundctm.finite import check_sound
from soundctm.ranking import BEST, RANKS, Agreement, load_agreement, rank_rows
from soundctm.samplers import clip_noise
from soundctm.seeds import clip_seed, clip_seeds
from soundctm.solver import sample_teacher

SHORTEST = 0.25  # of the trained length; a shorter clip is made that long and cut


@dataclass
class SoundCTMOutput:
    """`audios` float32 [n, samples] in [-1, 1] at `sampling_rate` Hz; `latents` [n, C, T/4, F] that they come from.

    `seeds` are those of the clips, where seeds made them; `scores` how well each agrees with its prompt, where they
    were ranked.
    """

    audios: np.ndarray
    sampling_rate: int
    latents: torch.Tensor
    seeds: list[int] | None = None
    scores: list[float] | None = None


class SoundCTMPipeline:
    """A denoiser (student or teacher), a codec and a text encoder; `defaults` are those of the checkpoint."""

    def __init__(self, parts: Components, weights: str = "ema", device: torch.device | str | None = None) -> None:
        """Use the network called `weights` ("ema", "student", "teacher") of `parts`, on `device` (default: a GPU)."""
        if parts.codec is None or parts.text_encoder is None:
            raise UserError("a pipeline needs a codec and a text encoder; this checkpoint lacks one of them")
        self.device = torch.device(device or default_device())
        self.parts, self.weights, self.defaults = parts, weights, parts.sampling
        network = parts.network(weights)
        network.check_latents(parts.codec.latent_shape())
        kind = TeacherDenoiser if weights == "teacher" else StudentDenoiser
        self.denoiser = kind(network, parts.schedule).to(self.device).eval().requires_grad_(False)
        self.codec = parts.codec.to(self.device)
        self.text_encoder = parts.text_encoder.to(self.device)
        self.compiled: Compiled | None = None
        lay_out(network, self.codec, self.device)

    def compile(self, mode: str = "graphs") -> Compiled:
        """Make calls cheaper that come again in the same shape: "graphs" or "inductor" (`soundctm.acceleration`).

        The first call of each shape then takes seconds longer, or a minute with "inductor". What this machine cannot
        do is left out with a line in the log; clips stay the same up to rounding. Raises UserError when called twice.
        """
        if self.compiled is not None:
            raise UserError(f"this pipeline is compiled already ({self.compiled.mode})")
        self.compiled = compile_pipeline(self, mode)
        return self.compiled

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike,
        weights: str = "ema",
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> SoundCTMPipeline:
        """The checkpoint folder (or hub id) `path`. Raises UserError if it is none or lacks `weights`."""
        return cls(load_checkpoint(path, weights, dtype=dtype), weights, device)

    def save_pretrained(self, folder: str | os.PathLike, dtype: torch.dtype | None = None) -> None:
        """Write the loaded parts as a checkpoint folder, in `dtype` on disk."""
        save_checkpoint(folder, self.parts, dtype=dtype)

    vary = operations.vary
    inpaint = operations.inpaint
    extend = operations.extend
    make_loop = operations.make_loop
    make_bands = operations.make_bands

    def __call__(
        self,
        prompts: str | Sequence[str],
        num_inference_steps: int | None = None,
        *,
        seconds: float | None = None,
        **options: Any,
    ) -> SoundCTMOutput:
        """One clip per prompt. What is None or not given is taken from the checkpoint (`defaults`).

        num_inference_steps: network calls of the student; levels of the teacher's grid (2n - 1 guided calls).
        seconds: length, from a fraction of a second to minutes; what is longer than the model was trained on is made
        in windows that overlap, what is shorter than a quarter of that is cut. options are those of `edit`.
        """
        trained = self._trained_frames
        if seconds is None:
            frames, samples = trained, None
        else:
            if not (math.isfinite(seconds) and seconds > 0):
                raise UserError(f"seconds is {seconds}; it must be above 0")
            check_length(seconds, "this")
            samples = round(seconds * self.codec.sampling_rate)
            frames = max(operations.frames_of(self.codec, samples), round(trained * SHORTEST))
        return self._generate(prompts, frames, samples, None, num_inference_steps=num_inference_steps, **options)

    def edit(
        self, prompts: str | Sequence[str], known: Known, samples: int, num_inference_steps: int | None = None,
        **options: Any,
    ) -> SoundCTMOutput:  # fmt: skip
        """One clip per prompt that starts from what is `known`, [1, C, T, ...], cut to `samples`.

        sampler, omega, nu, gamma: as in `soundctm.defaults`. omega: guidance of the trajectory, an input of the
        student; "none" leaves it out; the teacher's guidance scale. nu: the student's second guidance, 1 is none and
        halves the work. gamma: noise of `gamma_multistep`, 0 to 1. seed: one number, from which each clip gets its own
        by its prompt and occurrence, or one per clip. generator: one per clip, instead of seed. batch_size: clips per
        network call (default: all). callback_on_step_end(k, z) sees the state after every step, batch by batch.
        negative_prompt: takes the empty prompt's place in nu's pair and in the teacher's guidance. blend, control:
        see `soundctm.editing` and `soundctm.control`. loop: the end runs into the beginning.
        num_waveforms_per_prompt: candidates, one after the other; rank: "all" scores them, "best" keeps the best of
        each prompt; agreement: the judge, by default `soundctm.ranking.load_agreement`'s.
        A clip is the same whatever batch it is in. Raises UserError for values outside their ranges; warns
        (SamplingWarning) of those without effect and of an omega that the student was not trained on.
        """
        frames = known.latents.shape[2]
        return self._generate(prompts, frames, samples, known, num_inference_steps=num_inference_steps, **options)

    def unchanged(self, prompts: str | Sequence[str], waveform: torch.Tensor, latents: torch.Tensor) -> SoundCTMOutput:
        """The clip itself, once per prompt: what an edit of nothing gives."""
        count = 1 if isinstance(prompts, str) else len(prompts)
        audios = np.repeat(waveform.numpy()[None], count, axis=0)
        return SoundCTMOutput(audios, self.codec.sampling_rate, latents.expand(count, *latents.shape[1:]))

    @property
    def _dtype(self) -> str:
        return str(next(self.denoiser.parameters()).dtype).removeprefix("torch.")

    @property
    def _trained_frames(self) -> int:
        return self.codec.latent_shape(self.defaults.seconds)[1]

    @torch.no_grad()
    def _generate(
        self,
        prompts: str | Sequence[str],
        frames: int,
        samples: int | None,
        known: Known | None,
        *,
        num_inference_steps: int | None = None,
        sampler: str | None = None,
        omega: Omega = None,
        nu: float | None = None,
        gamma: float | None = None,
        seed: int | Sequence[int] = SEED,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        batch_size: int | None = None,
        callback_on_step_end: OnStep | None = None,
        negative_prompt: str | None = None,
        blend: Blend | None = None,
        control: Control | None = None,
        loop: bool = False,
        num_waveforms_per_prompt: int = 1,
        rank: str | None = None,
        agreement: Agreement | None = None,
    ) -> SoundCTMOutput:
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not prompts:
            raise UserError("there are no prompts; give at least one caption")
        if batch_size is not None and batch_size < 1:
            raise UserError(f"the batch size is {batch_size}; it must be at least 1")
        if num_waveforms_per_prompt < 1:
            raise UserError(f"{num_waveforms_per_prompt} waveforms per prompt; at least 1 can be made")
        if rank is not None and rank not in RANKS:
            raise UserError(f"rank is {rank!r}; it must be one of {', '.join(RANKS)}")
        settings, remarks = settle(
            self.defaults, self.weights, steps=num_inference_steps, sampler=sampler, omega=omega, nu=nu, gamma=gamma
        )
        for remark in remarks:
            warnings.warn(remark, SamplingWarning, stacklevel=4)  # the caller's line, beyond torch's decorator
        steering = Steering(negative_prompt, blend, control, loop)
        self._check(settings, steering, known)
        asked = len(prompts)
        seeds = None if generator is not None else _seeds(prompts, seed, num_waveforms_per_prompt)
        prompts = [prompt for prompt in prompts for _ in range(num_waveforms_per_prompt)]
        generators = _generators(prompts, seeds, generator)
        shape = self._shape(frames)
        size = batch_size or len(prompts)
        latents, audios = [], []
        for start in range(0, len(prompts), size):
            rows = slice(start, start + size)
            z = self._latents(prompts[rows], generators[rows], shape, settings, steering, known, callback_on_step_end)
            latents.append(z)
            audio = decode_loop(self.codec, z) if loop else self.codec.decode(z)
            audios.append(audio[:, :samples].cpu().numpy())
            check_sound(audios[-1], prompts[rows], self._dtype)
        made = SoundCTMOutput(np.concatenate(audios), self.codec.sampling_rate, torch.cat(latents), seeds)
        if rank is None:
            return made
        judge = agreement or load_agreement(self.text_encoder)
        made.scores = judge(prompts, torch.from_numpy(made.audios), made.sampling_rate)
        return _chosen(made, rank_rows(made.scores, asked)) if rank == BEST else made

    def _check(self, settings: Settings, steering: Steering, known: Known | None) -> None:
        """Raises UserError for steering that this network cannot do."""
        if self.weights == "teacher":
            steered = steering.blend or steering.control or steering.loop or known
            if steered:
                raise UserError("edits, blends, loops and control are the student's; the teacher can do none of them")
        elif steering.negative_prompt is not None and settings.nu == 1.0:
            raise UserError("a negative prompt has no effect at nu 1; give nu above 1, for example 1.5")

    def _shape(self, frames: int) -> tuple[int, ...]:
        channels, _, *rest = self.codec.latent_shape()
        return channels, frames, *rest

    def _latents(
        self,
        prompts: Sequence[str],
        generators: Sequence[torch.Generator],
        shape: tuple[int, ...],
        settings: Settings,
        steering: Steering,
        known: Known | None,
        on_step: OnStep | None,
    ) -> torch.Tensor:
        """Clean latents [B, *shape] of one batch."""
        schedule, count = self.denoiser.schedule, len(prompts)
        like = torch.empty(0, device=self.device)
        teacher = self.weights == "teacher"
        empty = None
        if teacher or settings.nu != 1.0:
            empty = self.text_encoder.encode([steering.negative_prompt or ""] * count)
        if teacher:
            z = schedule.sigma_max * clip_noise(shape, generators, like)
            text = self.text_encoder.encode(prompts)
            scale = torch.tensor(settings.omega, device=self.device)
            return sample_teacher(guided(self.denoiser, text, empty, scale), z, schedule, settings.steps, on_step)
        omegas = None if settings.omega is None else torch.full((count,), float(settings.omega), device=self.device)

        def jump_of(prompts: Sequence[str]) -> Jump:
            return guided_jump(self.denoiser, self.text_encoder.encode(prompts), empty, omegas, settings.nu)

        return sample(
            jump_of, self.codec, schedule, prompts, generators, shape, self._trained_frames, settings.steps,
            settings.sampler, settings.gamma, steering, None if known is None else known.rows(count), like, on_step,
        )  # fmt: skip


def _chosen(made: SoundCTMOutput, rows: Sequence[int]) -> SoundCTMOutput:
    pick = lambda values: None if values is None else [values[row] for row in rows]  # noqa: E731
    return SoundCTMOutput(
        made.audios[list(rows)], made.sampling_rate, made.latents[list(rows)], pick(made.seeds), pick(made.scores)
    )


def _seeds(prompts: Sequence[str], seed: int | Sequence[int], candidates: int) -> list[int]:
    """One seed per clip, the candidates of a prompt one after the other. A given seed is its first candidate's."""
    if isinstance(seed, int):
        return clip_seeds(seed, [prompt for prompt in prompts for _ in range(candidates)])
    given = list(seed)
    if len(given) != len(prompts):
        raise UserError(f"{len(given)} seeds for {len(prompts)} clips; give one number, or one per clip")
    return [number if k == 0 else clip_seed(number, "candidate", k) for number in given for k in range(candidates)]


def _generators(
    prompts: Sequence[str],
    seeds: Sequence[int] | None,
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> list[torch.Generator]:
    """One generator per clip."""
    if seeds is not None:
        return [torch.Generator().manual_seed(number) for number in seeds]
    given = [generator] if isinstance(generator, torch.Generator) else list(generator)
    if len(given) != len(prompts):
        raise UserError(f"{len(given)} generators for {len(prompts)} clips; give one per clip")
    return given
