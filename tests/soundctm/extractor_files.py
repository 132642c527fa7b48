"""Weights in the layout of the published files, the test sound of their goldens, and what every extractor must do.

Keys and shapes are those of the packages' own classes, which load the published files strictly: VGG of torchvggish 0.2,
PaSST of hear21passt 0.0.26, Cnn14 of panns_inference 0.1.1. Values follow the goldens' fill rule.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from helpers import close, tensor_for
from torchaudio.functional import melscale_fbanks

from soundctm.evaluation.extractors.base import Extractor

State = dict[str, torch.Tensor]
TINY_PASST = {"width": 48, "depth": 2, "heads": 4}
TINY_CNN14 = (4, 4, 8, 8, 16, 16)


def signal(seconds: float, rate: int) -> torch.Tensor:
    """A rising tone in noise, [seconds * rate]: what the goldens in extractors.safetensors were made from."""
    count = round(seconds * rate)
    time = np.arange(count) / rate
    tone = 0.3 * np.sin(2 * np.pi * (300 + 400 * time) * time)
    return torch.from_numpy((tone + tensor_for("signal.bias", (count,), 7)).astype(np.float32))


def vggish_state(width: int = 64, hidden: int = 4096, dim: int = 128) -> State:
    """The keys of vggish-10086976.pth, at its size by default."""
    channels = [1, width, 2 * width, 4 * width, 4 * width, 8 * width, 8 * width]
    shapes = {}
    for place, (inside, outside) in zip((0, 3, 6, 8, 11, 13), zip(channels, channels[1:], strict=False), strict=True):
        shapes[f"features.{place}"] = (outside, inside, 3, 3)
    flat = 6 * 4 * channels[-1]
    for place, shape in zip((0, 2, 4), ((hidden, flat), (hidden, hidden), (dim, hidden)), strict=True):
        shapes[f"embeddings.{place}"] = shape
    return _filled(_with_biases(shapes), 601)


def passt_state(width: int = 768, depth: int = 12, heads: int = 12) -> State:
    """The keys of passt-s-f128-p16-s10-ap.476-swa.pt, at its size by default; no shape depends on `heads`."""
    layers = {"patch_embed.proj": (width, 1, 16, 16), "head.1": (527, width), "head_dist": (527, width)}
    norms = ["norm", "head.0"]
    for index in range(depth):
        block = f"blocks.{index}."
        norms += [f"{block}norm1", f"{block}norm2"]
        layers[f"{block}attn.qkv"] = (3 * width, width)
        layers[f"{block}attn.proj"] = (width, width)
        layers[f"{block}mlp.fc1"] = (4 * width, width)
        layers[f"{block}mlp.fc2"] = (width, 4 * width)
    shapes = {
        "cls_token": (1, 1, width),
        "dist_token": (1, 1, width),
        "new_pos_embed": (1, 2, width),
        "freq_new_pos_embed": (1, width, 12, 1),
        "time_new_pos_embed": (1, width, 1, 99),
        **_with_biases(layers),
        **{f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")},
    }
    return _filled(shapes, 602)


def cnn14_state(n_fft: int, rate: int, fmax: float, channels: Sequence[int]) -> State:
    """The keys under "model" in Cnn14_mAP=0.431.pth (1024, 32000 Hz, 14000 Hz) or Cnn14_16k_mAP=0.438.pth (half)."""
    shapes = _with_biases({"fc1": (channels[-1], channels[-1]), "fc_audioset": (527, channels[-1])})
    norms, inside = {"bn0": 64}, 1
    for index, outside in enumerate(channels, start=1):
        for number, width in ((1, inside), (2, outside)):
            shapes[f"conv_block{index}.conv{number}.weight"] = (outside, width, 3, 3)
            norms[f"conv_block{index}.bn{number}"] = outside
        inside = outside
    for norm, width in norms.items():
        shapes |= {f"{norm}.{kind}": (width,) for kind in ("weight", "bias", "running_mean", "running_var")}
    state = _filled(shapes, 603)
    state |= {f"{norm}.num_batches_tracked": torch.tensor(0) for norm in norms}
    bins = n_fft // 2 + 1
    state["logmel_extractor.melW"] = melscale_fbanks(bins, 50.0, fmax, 64, rate, norm="slaney", mel_scale="slaney")
    for part in ("real", "imag"):  # a DFT in the published file; not read
        state[f"spectrogram_extractor.stft.conv_{part}.weight"] = torch.zeros(bins, 1, n_fft)
    return state


def assert_behaves(extractor: Extractor, classes: int | None) -> None:
    """Any length, silence and loud sound give finite features of the right form that do not depend on neighbours."""
    rate = extractor.sampling_rate
    clips = [signal(1.3, rate), torch.zeros(rate), torch.ones(1), signal(0.1, rate), 3 * signal(2.0, rate)]
    assert isinstance(extractor, Extractor)
    assert (None if extractor.class_names is None else len(extractor.class_names)) == classes
    assert len(extractor.weights_hash) == 64
    together = extractor(clips)
    for clip, features in zip(clips, together, strict=True):
        alone = extractor([clip])[0]
        close(features.embeddings, alone.embeddings, 2e-5)
        assert features.embeddings.dtype == torch.float32 and features.embeddings.shape[1] == extractor.dim
        assert len(features.embeddings) >= 1 and features.embeddings.isfinite().all()
        assert (features.logits is None) == (classes is None)
        if classes is not None:
            close(features.logits, alone.logits, 2e-5)
            assert features.logits.shape == (classes,) and features.logits.isfinite().all()
    assert not torch.allclose(together[0].embeddings[0], together[1].embeddings[0])
    assert extractor([]) == []


def _with_biases(layers: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    both = {}
    for name, shape in layers.items():
        both |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return both


def _filled(shapes: dict[str, tuple[int, ...]], seed: int) -> State:
    """By the goldens' rule, a running mean as if it were a bias."""
    return {
        key: torch.from_numpy(tensor_for(key.replace("running_mean", "running_mean.bias"), shape, seed))
        for key, shape in shapes.items()
    }
