"""Models of the official sizes with random weights, for measurements that need no file of weights."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from transformers import BertConfig, BertModel, ClapTextConfig, ClapTextModelWithProjection, T5Config, T5EncoderModel

from soundctm.audioldm import AudioLDMCodec
from soundctm.audioldm.patches import PatchVAE
from soundctm.audioldm.vae import FULL_CHANNELS, build_vae
from soundctm.audioldm.vocoder import InverseSTFTVocoder, build_hifigan
from soundctm.checkpoints import Components
from soundctm.codecs.waveform import WaveformCodec
from soundctm.defaults import Defaults
from soundctm.networks import StudentUNet
from soundctm.networks.dit import StudentDiT
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder
from soundctm.text.clap import ClapTextEncoder

CONFIGS, MINI = (Path(__file__).parent.parent / "configs" / size for size in ("full", "mini"))
END = 1  # T5's token after a caption
ROBERTA = (0, 2)  # its tokens before and after one


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


@dataclass(frozen=True)
class DiTSize:
    """Changes to the official configurations of transformer and text branch, the codec's, and seconds of a clip."""

    seconds: float = 10.031
    dit: dict = field(default_factory=dict)
    text: dict = field(default_factory=dict)
    rates: Sequence[int] = (4, 4, 8, 8)  # of the official file's possible ones the cheaper
    widths: tuple[int, int] = (64, 1536)  # of encoder and decoder


DIT_SIZES = {
    "full": DiTSize(),
    "reduced": DiTSize(
        2.56,
        {"num_layers": 8, "num_attention_heads": 8, "num_key_value_attention_heads": 4},
        {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 512},
        widths=(16, 384),
    ),
    "tiny": DiTSize(
        0.32,
        {"num_layers": 2, "num_attention_heads": 2, "num_key_value_attention_heads": 1},
        {
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
            "vocab_size": 1000,
        },
        widths=(4, 32),
    ),
}  # fmt: skip


class WordNumbers:
    """Stands in for a tokenizer: a token per word, its number by a checksum of the word, and those around a caption."""

    model_max_length = 512

    def __init__(self, words: int, before: Sequence[int] = (), after: Sequence[int] = (END,)) -> None:
        self.words, self.before, self.after = words, before, after

    def __call__(self, texts: Sequence[str], **_: object) -> dict[str, list[list[int]]]:
        """Token ids of each text, not padded."""
        return {
            "input_ids": [[*self.before, *(self._number(word) for word in text.split()), *self.after] for text in texts]
        }

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


def random_dit_model(size: str, device: torch.device, seed: int = 0) -> Components:
    """Student, 44.1 kHz codec and CLAP's text branch of `DIT_SIZES[size]` on `device`, the same for one seed there."""
    wanted = DIT_SIZES[size]
    text = ClapTextConfig(layer_norm_eps=1e-5, **wanted.text)
    frames = int(wanted.seconds * 44_100) // 1024 + 1
    widths = {"cross_attention_dim": text.hidden_size, "cross_attention_input_dim": text.hidden_size}
    torch.manual_seed(seed)
    with torch.device(device):
        network = StudentDiT.from_config({"sample_size": frames, **widths, **wanted.dit})
        codec = WaveformCodec(wanted.rates, 64, *wanted.widths, default_seconds=wanted.seconds)
        codec.z_mean.normal_()
        codec.z_std.uniform_(0.5, 2.0)
        encoder = ClapTextModelWithProjection(text)
    for module in (network, encoder):
        module.eval().requires_grad_(False)
    tokenizer = WordNumbers(text.vocab_size, *((token,) for token in ROBERTA))
    return Components(
        ema=network,
        codec=codec,
        text_encoder=ClapTextEncoder(encoder, tokenizer, "random", "pooled"),
        schedule=SigmaSchedule(sigma_data=0.5),
        sampling=Defaults(omega=5.0),
    )


def random_small_model(device: torch.device, seed: int = 0) -> Components:
    """Student, codec and text encoder in the shapes of the small model, with random weights."""
    text = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    vocoder, patches = (yaml.safe_load((MINI / f"{name}.yaml").read_text()) for name in ("vocoder", "patches"))
    sizes = {name: vocoder[name] for name in ("channels", "hidden", "layers", "n_fft", "refinements")}
    torch.manual_seed(seed)
    with torch.device(device):
        network = StudentUNet.from_config(json.loads((MINI / "unet.json").read_text()))
        vae = PatchVAE(patches["patch_size"], patches["latent_channels"])
        decoder = InverseSTFTVocoder(**sizes)
        codec = AudioLDMCodec(vae, decoder, None, 0.16, patches["seconds"], patches["refinements"])
        encoder = BertModel(text, add_pooling_layer=False)
    for module in (network, encoder):
        module.eval().requires_grad_(False)
    return Components(
        ema=network, codec=codec, text_encoder=TextEncoder(encoder, WordNumbers(text.vocab_size), "random")
    )
