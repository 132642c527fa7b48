"""A clip of SoundCTM-DiT in the official way, cost for cost: the baseline of `benchmarks.inference --model dit`.

As `benchmarks.plain.inference`, and: RoBERTa runs once per text and step, padded to 77 tokens; the cross attention over
the one text token is computed for every frame; float32 throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.plain.inference import PlainInference

PAD, LENGTH = 1, 77  # RoBERTa's padding, and CLAP's length of every caption


class PlainDiTInference(PlainInference):
    """The official way with the transformer, the 44.1 kHz codec and the text branch of its parts."""

    def _output(self, scaled: Tensor, texts: list[str], at_t: Tensor, at_s: Tensor, omega: Tensor) -> Tensor:
        vectors = torch.cat([self._vector(text) for text in texts])
        return self.network(scaled, at_t, vectors[:, None], None, at_s, omega)

    def _vector(self, text: str) -> Tensor:
        ids = self.tokenizer([text])["input_ids"][0][:LENGTH]
        padded = torch.tensor([[*ids, *[PAD] * (LENGTH - len(ids))]], device=self.device)
        pooled = self.encoder.text_model(input_ids=padded, attention_mask=(padded != PAD).long()).pooler_output
        return F.normalize(pooled, dim=-1)

    def _decoded(self, z: Tensor) -> Tensor:
        codec = self.codec
        latents = 2 * codec.z_std[:, None] * z + codec.z_mean[:, None]
        waveform = codec.decoder(codec.post_conv(latents))[:, 0]
        return waveform[:, : int(codec.default_seconds * codec.sampling_rate)]
