"""Models of the official sizes with random weights, for measurements that need no file of weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import T5Config, T5EncoderModel

from audioldm import AudioLDMCodec
from audioldm.vae import FULL_CHANNELS, build_vae
from audioldm.vocoder import build_hifigan
from soundctm.checkpoints import Components
from soundctm.networks import StudentUNet
from soundctm.text import TextEncoder

CONFIGS = Path(__file__).parent.parent / "configs" / "full"
END = 1  # T5's token after a caption


@dataclass(frozen=True)
class Size:
    """Changes to the official configurations, widths of the codec, and the length of a clip in seconds."""

    seconds: float = 10.24
    unet: dict = field(default_factory=dict)
    text: dict = field(default_factory=dict)
    vae: tuple[Sequence[int], int, int, int] = (FULL_CHANNELS, 2, 8, 32)  # channels, layers, latent channels, groups
    vocoder: int = 1024


SIZES = {
    "full": Size(),
    "reduced": Size(
        2.56,
        {"block_out_channels": [40, 80, 160, 160], "norm_num_groups": 8},
        {"d_model": 128, "d_kv": 8, "d_ff": 352},
        ((16, 32, 64), 2, 8, 8),
        128,
    ),
    "tiny": Size(
        0.32,
        {
            "block_out_channels": [16, 16], "norm_num_groups": 4, "layers_per_block": 1,
            "attention_head_dim": [1, 2], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        },
        {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_heads": 2, "num_layers": 2},
        ((8, 8, 8), 1, 8, 4),
        32,
    ),
}  # fmt: skip


class WordNumbers:
    """Stands in for a tokenizer: a token per word, its number by a checksum of the word, and one at the end."""

    model_max_length = 512

    def __init__(self, words: int) -> None:
        self.words = words

    def __call__(self, texts: Sequence[str], **_: object) -> dict[str, list[list[int]]]:
        """Token ids of each text, not padded."""
        return {"input_ids": [[*(self._number(word) for word in text.split()), END] for text in texts]}

    def _number(self, word: str) -> int:
        return 3 + zlib.crc32(word.encode()) % (self.words - 3)


def random_unet_model(size: str, device: torch.device, seed: int = 0) -> Components:
    """Student, codec and text encoder of `SIZES[size]` on `device`, the same for one seed and device."""
    wanted = SIZES[size]
    text = json.loads((CONFIGS / "text_encoder.json").read_text()) | wanted.text
    shape = json.loads((CONFIGS / "unet.json").read_text()) | wanted.unet | {"cross_attention_dim": text["d_model"]}
    torch.manual_seed(seed)
    with torch.device(device):
        unet = StudentUNet.from_config(shape)
        codec = AudioLDMCodec(build_vae(*wanted.vae), build_hifigan(channels=wanted.vocoder), None, 0.9, wanted.seconds)
        encoder = T5EncoderModel(T5Config(**{k: v for k, v in text.items() if k != "architectures"}))
    for module in (unet, encoder):
        module.eval().requires_grad_(False)
    return Components(
        ema=unet, codec=codec, text_encoder=TextEncoder(encoder, WordNumbers(text["vocab_size"]), "random")
    )
