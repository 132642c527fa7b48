"""Captions in, sounds out.

pipe = SoundCTMPipeline.from_pretrained("ckpt/mini")
out = pipe("a dog barking in the rain", seed=7)
soundfile.write("dog.wav", out.audios[0], out.sampling_rate)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from soundctm.checkpoints import Components, load_checkpoint, save_checkpoint
from soundctm.defaults import SEED, Omega, SamplingWarning, Settings, settle
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser, guided, guided_jump
from soundctm.devices import default_device
from soundctm.errors import UserError
from soundctm.samplers import SAMPLERS, clip_noise
from soundctm.seeds import clip_seeds
from soundctm.solver import sample_teacher

OnStep = Callable[[int, torch.Tensor], None]


@dataclass
class SoundCTMOutput:
    """`audios` float32 [n, samples] in [-1, 1] at `sampling_rate` Hz; `latents` [n, C, T/4, F] that they come from."""

    audios: np.ndarray
    sampling_rate: int
    latents: torch.Tensor


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

    @torch.no_grad()
    def __call__(
        self,
        prompts: str | Sequence[str],
        num_inference_steps: int | None = None,
        *,
        sampler: str | None = None,
        omega: Omega = None,
        nu: float | None = None,
        gamma: float | None = None,
        seconds: float | None = None,
        seed: int | Sequence[int] = SEED,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        batch_size: int | None = None,
        callback_on_step_end: OnStep | None = None,
    ) -> SoundCTMOutput:
        """One clip per prompt. What is None is taken from the checkpoint (`defaults`).

        num_inference_steps: network calls of the student; levels of the teacher's grid (2n - 1 guided calls).
        omega: guidance of the trajectory, an input of the student; "none" leaves it out. The teacher's guidance scale.
        nu: the student's second guidance, 1 is none and halves the work. gamma: noise of `gamma_multistep`, 0 to 1.
        seconds: length. seed: one number, from which each clip gets its own by its prompt and occurrence, or one per
        clip. generator: one per clip, instead of seed. batch_size: clips per network call (default: all).
        callback_on_step_end(k, z) sees the state after every step, batch by batch. A clip is the same whatever batch
        it is in. Raises UserError for values outside their ranges; warns (SamplingWarning) of those without effect and
        of an omega that the student was not trained on.
        """
        prompts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not prompts:
            raise UserError("there are no prompts; give at least one caption")
        if batch_size is not None and batch_size < 1:
            raise UserError(f"the batch size is {batch_size}; it must be at least 1")
        settings, remarks = settle(
            self.defaults, self.weights, steps=num_inference_steps, sampler=sampler, omega=omega, nu=nu, gamma=gamma
        )
        for remark in remarks:
            warnings.warn(remark, SamplingWarning, stacklevel=3)  # the caller's line, beyond torch's decorator
        generators = _generators(prompts, seed, generator)
        shape = self.codec.latent_shape(self.defaults.seconds if seconds is None else seconds)
        size = batch_size or len(prompts)
        latents, audios = [], []
        for start in range(0, len(prompts), size):
            rows = slice(start, start + size)
            z = self._latents(prompts[rows], generators[rows], shape, settings, callback_on_step_end)
            latents.append(z)
            audios.append(self.codec.decode(z).cpu().numpy())
        return SoundCTMOutput(np.concatenate(audios), self.codec.sampling_rate, torch.cat(latents))

    def _latents(
        self,
        prompts: Sequence[str],
        generators: Sequence[torch.Generator],
        shape: tuple[int, ...],
        settings: Settings,
        on_step: OnStep | None,
    ) -> torch.Tensor:
        """Clean latents [B, *shape] of one batch."""
        schedule, count = self.denoiser.schedule, len(prompts)
        like = torch.empty(0, device=self.device)
        z = schedule.sigma_max * clip_noise(shape, generators, like)
        text = self.text_encoder.encode(prompts)
        teacher = self.weights == "teacher"
        empty = self.text_encoder.encode([""] * count) if teacher or settings.nu != 1.0 else None
        if teacher:
            scale = torch.tensor(settings.omega, device=self.device)
            return sample_teacher(guided(self.denoiser, text, empty, scale), z, schedule, settings.steps, on_step)
        omegas = None if settings.omega is None else torch.full((count,), float(settings.omega), device=self.device)
        jump = guided_jump(self.denoiser, text, empty, omegas, settings.nu)
        if on_step is not None:
            jump = _reporting(jump, on_step)
        sigmas = schedule.grid(settings.steps + 1).to(self.device)
        return SAMPLERS[settings.sampler](
            jump, z, sigmas, lambda k: clip_noise(shape, generators, like), settings.gamma
        )


def _reporting(jump: Callable[..., torch.Tensor], on_step: OnStep) -> Callable[..., torch.Tensor]:
    calls = 0

    def reporting(z: torch.Tensor, t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        landed = jump(z, t, s)
        on_step(calls, landed)
        calls += 1
        return landed

    return reporting


def _generators(
    prompts: Sequence[str],
    seed: int | Sequence[int],
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> list[torch.Generator]:
    """One generator per clip."""
    if generator is not None:
        given = [generator] if isinstance(generator, torch.Generator) else list(generator)
        if len(given) != len(prompts):
            raise UserError(f"{len(given)} generators for {len(prompts)} clips; give one per clip")
        return given
    seeds = clip_seeds(seed, prompts) if isinstance(seed, int) else list(seed)
    if len(seeds) != len(prompts):
        raise UserError(f"{len(seeds)} seeds for {len(prompts)} clips; give one number, or one per clip")
    return [torch.Generator().manual_seed(number) for number in seeds]
