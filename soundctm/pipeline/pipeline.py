"""Captions in, sounds out.

pipe = SoundCTMPipeline.from_pretrained("mini")
pipe("a dog barking in the rain", seed=7).save("dog.wav")
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from soundctm.acceleration import reusing_memory
from soundctm.control.control import Control
from soundctm.defaults import SEED, Omega, SamplingWarning, Settings, settle
from soundctm.denoisers import Jump, guided, guided_jump
from soundctm.editing import operations
from soundctm.editing.clip import check_length, decode_loop
from soundctm.editing.sampling import Blend, Known, Steering, sample
from soundctm.errors import UserError
from soundctm.finite import check_sound
from soundctm.pipeline.assembled import Assembled
from soundctm.pipeline.callbacks import TENSORS, Callback, Interrupted, OnStep, reporter
from soundctm.pipeline.output import SoundCTMOutput, picked
from soundctm.pipeline.requests import Generators, Request, Rows, Texts
from soundctm.ranking import BEST, Agreement, load_agreement, rank_rows
from soundctm.samplers import clip_noise
from soundctm.solver import sample_teacher

SHORTEST = 0.25  # of the trained length; a shorter clip is made that long and cut


class SoundCTMPipeline(Assembled):
    """A network (student or teacher), a codec, a text encoder and a noise schedule.

    Moving, offloading, number formats, components and the progress bar are those of diffusers' pipelines.
    """

    vary = operations.vary
    inpaint = operations.inpaint
    extend = operations.extend
    make_loop = operations.make_loop
    make_bands = operations.make_bands

    def __call__(
        self,
        prompt: Texts,
        num_inference_steps: int | None = None,
        *,
        negative_prompt: Texts | None = None,
        audio_length_in_s: float | None = None,
        seconds: float | None = None,
        num_waveforms_per_prompt: int = 1,
        sampler: str | None = None,
        omega: Omega = None,
        nu: float | None = None,
        gamma: float | None = None,
        seed: int | Sequence[int] = SEED,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        batch_size: int | None = None,
        blend: Blend | None = None,
        control: Control | None = None,
        loop: bool = False,
        rank: str | None = None,
        agreement: Agreement | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        callback_on_step_end: Callback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = TENSORS,
    ) -> SoundCTMOutput | tuple:
        """One clip per prompt, or `num_waveforms_per_prompt`. What is None is taken from the checkpoint (`defaults`).

        num_inference_steps: network calls of the student; levels of the teacher's grid (2n - 1 guided calls).
        audio_length_in_s (or `seconds`, its shorter name): from a fraction of a second to minutes; what is longer than
        the model was trained on is made in windows that overlap, what is shorter than a quarter of that is cut.
        sampler, omega, nu, gamma: as in `soundctm.defaults`. omega: guidance of the trajectory, an input of the
        student; "none" leaves it out; the teacher's guidance scale. nu: the student's second guidance, 1 is none and
        halves the work. gamma: noise of `gamma_multistep`, 0 to 1. negative_prompt: takes the empty prompt's place in
        nu's pair and in the teacher's guidance; one for all or one per prompt.
        seed: one number, from which each clip gets its own by its prompt and occurrence, or one per prompt. generator:
        one, or one per clip, instead of seed. latents: standard normal noise [n, C, T, ...] to begin with, instead of
        the generators' first draw. batch_size: clips per network call (default: all). A clip is the same whatever batch
        it is in. blend, control: see `soundctm.editing` and `soundctm.control`. loop: the end runs into the beginning.
        rank: "all" scores the candidates of a prompt, which follow each other, "best" keeps the best of each;
        agreement: the judge, by default `soundctm.ranking.load_agreement`'s.
        output_type: "np", "pt" (a tensor) or "latent" (not decoded). return_dict: False gives (audios,).
        callback_on_step_end: see `soundctm.pipeline.callbacks`; it is called after every step, batch by batch.
        Raises UserError for values outside their ranges; warns (SamplingWarning) of those without effect and of an
        omega that the student was not trained on.
        """
        if seconds is not None and audio_length_in_s is not None:
            raise UserError("seconds and audio_length_in_s are two names of one thing; give one of them")
        frames, samples = self._length(audio_length_in_s if seconds is None else seconds)
        asked = Request(
            prompt, num_inference_steps, negative_prompt, num_waveforms_per_prompt, sampler, omega, nu, gamma, seed,
            generator, latents, batch_size, blend, control, loop, rank, agreement, output_type, return_dict,
            callback_on_step_end, callback_on_step_end_tensor_inputs,
        )  # fmt: skip
        return self._generate(asked, frames, samples, None)

    def edit(
        self, prompt: Texts, known: Known, samples: int, num_inference_steps: int | None = None, **options: Any
    ) -> SoundCTMOutput:
        """One clip per prompt that starts from what is `known`, [1, C, T, ...], cut to `samples`.

        Options, and what is raised, are those of the call.
        """
        asked = Request(prompt, num_inference_steps, **options)
        return self._generate(asked, known.latents.shape[2], samples, known)

    def unchanged(self, prompt: Texts, waveform: torch.Tensor, latents: torch.Tensor) -> SoundCTMOutput:
        """The clip itself, once per prompt: what an edit of nothing gives."""
        count = 1 if isinstance(prompt, str) else len(prompt)
        audios = np.repeat(waveform.numpy()[None], count, axis=0)
        return SoundCTMOutput(audios, self.codec.sampling_rate, latents.expand(count, *latents.shape[1:]))

    @torch.no_grad()
    def decode(self, latents: torch.Tensor, loop: bool = False) -> torch.Tensor:
        """Waveforms [B, samples] on the CPU of latents [B, C, T, ...]; of a loop, as it goes on round its end."""
        return (decode_loop(self.codec, latents) if loop else self.codec.decode(latents)).cpu()

    def _length(self, seconds: float | None) -> tuple[int, int | None]:
        """Latent frames, and to how many samples they are cut, None where they are not."""
        trained = self._trained_frames
        if seconds is None:
            return trained, None
        if not (math.isfinite(seconds) and seconds > 0):
            raise UserError(f"seconds is {seconds}; it must be above 0")
        check_length(seconds, "this")
        samples = round(seconds * self.codec.sampling_rate)
        return max(operations.frames_of(self.codec, samples), round(trained * SHORTEST)), samples

    @property
    def _trained_frames(self) -> int:
        return self.codec.latent_shape(self.defaults.seconds)[1]

    @torch.no_grad()
    def _generate(
        self, asked: Request, frames: int, samples: int | None, known: Known | None
    ) -> SoundCTMOutput | tuple:
        rows, shape = asked.rows(), self._shape(frames)
        settings, remarks = settle(
            self.defaults, self.weights, steps=asked.num_inference_steps, sampler=asked.sampler, omega=asked.omega,
            nu=asked.nu, gamma=asked.gamma,
        )  # fmt: skip
        for remark in remarks:
            warnings.warn(remark, SamplingWarning, stacklevel=4)  # the caller's line, beyond torch's decorator
        steering, count = Steering(asked.blend, asked.control, asked.loop), len(rows.prompts)
        self._check(settings, steering, known, rows)
        if asked.latents is not None and tuple(asked.latents.shape) != (count, *shape):
            raise UserError(f"latents are {list(asked.latents.shape)}; they must be {[count, *shape]}")
        size = asked.batch_size or count
        made, audios, self._interrupt = [], [], False
        calls = settings.steps * max(1, known.repeats if known else 1)
        bars = self.progress_bar(total=calls * math.ceil(count / size))
        with bars as bar, reusing_memory(self._execution_device):
            on_step = reporter(self, bar.update, asked.callback_on_step_end, asked.callback_on_step_end_tensor_inputs)
            for start in range(0, count, size):
                part = slice(start, start + size)
                initial = None if asked.latents is None else asked.latents[part]
                z = self._latents(rows.part(part), shape, settings, steering, known, on_step, initial)
                made.append(z)
                if asked.output_type != "latent":
                    audios.append(self.decode(z, asked.loop)[:, :samples])
                    check_sound(audios[-1].numpy(), rows.prompts[part], str(self.dtype).removeprefix("torch."))
                if self._interrupt:
                    break
        self.maybe_free_model_hooks()
        output = self._output(rows, torch.cat(made), audios, asked.output_type)
        if asked.rank is not None:
            judge = asked.agreement or load_agreement(self.text_encoder)
            output.scores = judge(output.prompts, torch.as_tensor(output.audios), output.sampling_rate)
            if asked.rank == BEST:
                output = picked(output, rank_rows(output.scores, count // asked.num_waveforms_per_prompt))
        return output if asked.return_dict else (output.audios,)

    def _output(self, rows: Rows, latents: torch.Tensor, audios: list[torch.Tensor], kind: str) -> SoundCTMOutput:
        """What was made, which is less than asked for after an interruption."""
        done = rows.part(slice(0, len(latents)))
        found = latents if kind == "latent" else torch.cat(audios)
        if kind == "np":
            found = found.numpy()
        return SoundCTMOutput(found, self.codec.sampling_rate, latents, done.seeds, None, done.prompts)

    def _check(self, settings: Settings, steering: Steering, known: Known | None, rows: Rows) -> None:
        """Raises UserError for steering that this network cannot do."""
        if self.weights == "teacher":
            steered = steering.blend or steering.control or steering.loop or known
            if steered:
                raise UserError("edits, blends, loops and control are the student's; the teacher can do none of them")
        elif rows.negatives is not None and settings.nu == 1.0:
            raise UserError("a negative prompt has no effect at nu 1; give nu above 1, for example 1.5")

    def _shape(self, frames: int) -> tuple[int, ...]:
        channels, _, *rest = self.codec.latent_shape()
        return channels, frames, *rest

    def _latents(
        self,
        rows: Rows,
        shape: tuple[int, ...],
        settings: Settings,
        steering: Steering,
        known: Known | None,
        on_step: OnStep,
        initial: torch.Tensor | None,
    ) -> torch.Tensor:
        """Clean latents [B, *shape] of one batch."""
        schedule, denoiser, count = self.schedule, self.denoiser, len(rows.prompts)
        like = torch.empty(0, device=self._execution_device)
        teacher, empty = self.weights == "teacher", None
        if teacher or settings.nu != 1.0:
            empty = self.text_encoder.encode(rows.negatives or [""] * count)
        try:
            if teacher:
                noise = clip_noise(shape, rows.generators, like) if initial is None else initial.to(like)
                scale = torch.tensor(settings.omega, device=like.device)
                denoise = guided(denoiser, self.text_encoder.encode(rows.prompts), empty, scale)
                return sample_teacher(denoise, schedule.sigma_max * noise, schedule, settings.steps, on_step)
            omegas = None if settings.omega is None else torch.full((count,), float(settings.omega), device=like.device)

            def jump_of(prompts: Sequence[str]) -> Jump:
                return guided_jump(denoiser, self.text_encoder.encode(prompts), empty, omegas, settings.nu)

            return sample(
                jump_of, self.codec, schedule, rows.prompts, rows.generators, shape, self._trained_frames,
                settings.steps, settings.sampler, settings.gamma, steering,
                None if known is None else known.rows(count), like, on_step, initial,
            )  # fmt: skip
        except Interrupted as stop:
            return stop.latents


__all__ = ["SoundCTMOutput", "SoundCTMPipeline"]
