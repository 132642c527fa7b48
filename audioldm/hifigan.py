"""HiFi-GAN with its one-dimensional convolutions run as flat two-dimensional ones, channels last.

oneDNN, on CPUs, has no fast one-dimensional convolutions: it turns every input and weight around for each of the 90
calls. As images of height 1 in the memory format that the kernels compute in, nothing has to be turned.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from .library import SpeechT5HifiGan


def run_flat(vocoder: SpeechT5HifiGan) -> SpeechT5HifiGan:
    """Let `vocoder` compute so from now on, in place; its weights keep names, shapes and values."""
    for module in vocoder.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            weight = module.weight.data
            module.weight.data = weight.transpose(1, 2).contiguous().transpose(1, 2)
    vocoder.forward = functools.partial(flat_forward, vocoder)
    return vocoder


def run_as_built(vocoder: SpeechT5HifiGan) -> SpeechT5HifiGan:
    """Undo `run_flat`, in place."""
    if getattr(vars(vocoder).get("forward"), "func", None) is flat_forward:
        del vocoder.forward
    return vocoder


def flat_forward(vocoder: SpeechT5HifiGan, spectrogram: Tensor) -> Tensor:
    """Waveforms [B, samples] of log-mels [B, T, n_mels]: what `vocoder` computes, up to rounding."""
    slope, kernels = vocoder.config.leaky_relu_slope, vocoder.num_kernels
    if vocoder.config.normalize_before:
        spectrogram = (spectrogram - vocoder.mean) / vocoder.scale
    hidden = _convolved(vocoder.conv_pre, spectrogram.contiguous().transpose(1, 2).unsqueeze(2))
    for number, upsampler in enumerate(vocoder.upsampler):
        hidden = _convolved(upsampler, F.leaky_relu(hidden, slope))
        blocks = vocoder.resblocks[number * kernels : (number + 1) * kernels]
        total = _through(blocks[0], hidden)
        for block in blocks[1:]:
            total += _through(block, hidden)
        hidden = total.div_(kernels) if not torch.is_grad_enabled() else total / kernels
    return _convolved(vocoder.conv_post, F.leaky_relu(hidden)).tanh()[:, 0, 0]


def _through(block: nn.Module, hidden: Tensor) -> Tensor:
    for first, second in zip(block.convs1, block.convs2, strict=True):
        inner = _convolved(first, F.leaky_relu(hidden, block.leaky_relu_slope))
        hidden = hidden + _convolved(second, F.leaky_relu(inner, block.leaky_relu_slope))
    return hidden


def _convolved(layer: nn.Conv1d | nn.ConvTranspose1d, hidden: Tensor) -> Tensor:
    """[B, C, 1, T] -> [B, C', 1, T']."""
    if flat := getattr(layer, "flat", None):  # a layer that stands in the place of one of the library
        return flat(hidden)
    weight = layer.weight.unsqueeze(2)
    sizes = {"stride": (1, *layer.stride), "padding": (0, *layer.padding), "dilation": (1, *layer.dilation)}
    if isinstance(layer, nn.ConvTranspose1d):
        return F.conv_transpose2d(hidden, weight, layer.bias, output_padding=(0, *layer.output_padding), **sizes)
    return F.conv2d(hidden, weight, layer.bias, **sizes)
