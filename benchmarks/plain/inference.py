"""A clip in the official way, cost for cost, as a baseline: what `benchmarks.inference` compares with.

One clip at a time; in every step the prompt and the empty prompt are encoded together, padded to the longer, and the
network runs on the pair, though at nu = 1 the empty half cancels; float32 throughout; nothing kept between clips. The
networks are the library's, the same as ours; everything around them is written out here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from soundctm.checkpoints import Components
from soundctm.schedule import SigmaSchedule


@dataclass(frozen=True)
class PlainClip:
    """`latents` [1, C, T, F] and `waveform` [1, samples]."""

    latents: Tensor
    waveform: Tensor


class PlainInference:
    """The official way with the networks of `parts`, which it keeps to itself."""

    def __init__(self, parts: Components, device: torch.device) -> None:
        self.device, self.schedule = device, parts.schedule
        self.network = parts.ema.to(device)
        self.codec = parts.codec.to(device)
        self.encoder = parts.text_encoder.model.to(device)
        self.tokenizer = parts.text_encoder.tokenizer

    @torch.no_grad()
    def __call__(self, prompt: str, seed: int, steps: int, omega: float = 3.5, nu: float = 1.0) -> PlainClip:
        """One clip by the deterministic sampler."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(1, *self.codec.latent_shape(), generator=generator).to(self.device)
        z = self.schedule.sigma_max * z
        sigmas = levels(self.schedule, steps + 1)
        for t, s in zip(sigmas, sigmas[1:], strict=False):
            conditional, unconditional = self._pair(z, t, s, prompt, omega).chunk(2)
            z = unconditional + nu * (conditional - unconditional)
        return PlainClip(z, self._decoded(z))

    def _decoded(self, z: Tensor) -> Tensor:
        codec = self.codec
        mel = codec.vae.decode(z / codec.scale_factor).sample
        if codec.refinements:  # of the small model alone
            return codec.mel_to_waveform(mel)
        return codec.vocoder(mel[:, 0])[:, : mel.shape[2] * codec.mel.config.hop_length]

    def _pair(self, z: Tensor, t: float, s: float, prompt: str, omega: float) -> Tensor:
        """Both jumps [2, C, T, F] from level t to level s."""
        data, double = self.schedule.sigma_data, torch.cat([z, z])
        values = (torch.full((2,), value, device=self.device) for value in (math.log(t) / 4, math.log(s) / 4, omega))
        network = self._output(double * (t**2 + data**2) ** -0.5, [prompt, ""], *values)
        denoised = data**2 / (t**2 + data**2) * double + t * data * (t**2 + data**2) ** -0.5 * network
        return s / t * double + (1 - s / t) * denoised

    def _output(self, scaled: Tensor, texts: list[str], at_t: Tensor, at_s: Tensor, omega: Tensor) -> Tensor:
        hidden, mask = self._text(texts)
        return self.network(
            scaled,
            at_t,
            encoder_hidden_states=hidden,
            encoder_attention_mask=mask,
            added_cond_kwargs={"s": at_s, "omega": omega},
        ).sample

    def _text(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        rows = self.tokenizer(texts, truncation=True, max_length=512, padding=False)["input_ids"]
        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self.device)
        mask = torch.tensor([[place < len(row) for place in range(longest)] for row in rows], device=self.device)
        hidden = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return hidden, mask


def levels(schedule: SigmaSchedule, count: int) -> list[float]:
    """Karras levels from sigma_max down to sigma_min."""
    high, low = schedule.sigma_max ** (1 / schedule.rho), schedule.sigma_min ** (1 / schedule.rho)
    return [(high + index / (count - 1) * (low - high)) ** schedule.rho for index in range(count)]
