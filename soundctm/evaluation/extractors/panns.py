"""PANNs: Cnn14, 2048-d embeddings and logits of 527 AudioSet classes, the FD of AudioLDM's papers among others.

A convolutional network over the whole clip (Kong et al., 2020, arXiv 1912.10211). Two releases: at 32 kHz (`panns`) and
at 16 kHz (`panns16`). Embeddings are the ReLU of the first linear layer, logits are taken before the sigmoid.

Input: mono. Centred power spectrum (periodic Hann window as long as the FFT, edges reflected), the 64 mel bands that
the file of weights holds, 10 log10(max(mel, 1e-10)). A clip of any length is one row; one of under 33 frames (about a
third of a second) is zero-padded to that, below which nothing is left after the pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundctm.checkpoints.assign import build
from soundctm.checkpoints.torch_files import StateDict
from soundctm.evaluation.extractors.audioset import class_names
from soundctm.evaluation.extractors.patches import PatchExtractor, pad_to
from soundctm.evaluation.extractors.weights import Published, read_weights, sha256

N_MELS = 64
FEWEST_HOPS = 32  # five halvings leave one frame
AMIN = 1e-10
CHANNELS = (64, 128, 256, 512, 1024, 2048)
TRAINED_WITH = "spectrogram_extractor.stft."  # the STFT written as convolutions; torch.stft computes the same
RELEASE = "record 3987831 of Zenodo, PANNs"


@dataclass(frozen=True)
class Release:
    """One released Cnn14 and its front end; rates in Hz, lengths in samples."""

    published: Published
    sampling_rate: int
    n_fft: int
    hop: int


RELEASES = {
    "panns": Release(Published("panns", "Cnn14_mAP=0.431.pth", RELEASE), 32_000, 1024, 320),
    "panns16": Release(Published("panns16", "Cnn14_16k_mAP=0.438.pth", RELEASE), 16_000, 512, 160),
}


class LogMel(nn.Module):
    """Waveforms [N, n] -> decibels [N, frames, 64]; `melW` [bins, 64] is read with the weights."""

    def __init__(self, n_fft: int, hop: int):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("melW", torch.zeros(n_fft // 2 + 1, N_MELS))

    def forward(self, waveforms: Tensor) -> Tensor:
        window = torch.hann_window(self.n_fft, device=waveforms.device)
        spectrum = torch.stft(waveforms, self.n_fft, self.hop, window=window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return 10 * (power.transpose(1, 2) @ self.melW).clamp_min(AMIN).log10()


class ConvBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and ReLU, then a mean over 2 x 2 unless `pool` is 1."""

    def __init__(self, channels: int, out_channels: int, pool: int):
        super().__init__()
        self.pool = pool
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return F.avg_pool2d(x, self.pool)


class Cnn14(nn.Module):
    """Waveforms [N, n] -> (embeddings [N, D], logits [N, classes]); names are those of the published files."""

    def __init__(self, n_fft: int, hop: int, channels: Sequence[int] = CHANNELS, classes: int = 527):
        super().__init__()
        self.logmel_extractor = LogMel(n_fft, hop)
        self.bn0 = nn.BatchNorm2d(N_MELS)  # over mel bands
        widths = (1, *channels)
        for index, (width, out_width) in enumerate(zip(widths, widths[1:], strict=False), start=1):
            self.add_module(f"conv_block{index}", ConvBlock(width, out_width, 1 if index == len(channels) else 2))
        self.blocks = len(channels)
        self.fc1 = nn.Linear(channels[-1], channels[-1])
        self.fc_audioset = nn.Linear(channels[-1], classes)

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        x = self.logmel_extractor(waveforms)[:, None]  # [N, 1, frames, 64]
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        for index in range(1, self.blocks + 1):
            x = self.get_submodule(f"conv_block{index}")(x)
        x = x.mean(3)
        embeddings = self.fc1(x.amax(2) + x.mean(2)).relu()
        return embeddings, self.fc_audioset(embeddings)


class _Unread:
    """Stands in for NumPy's constructors in the training state beside the weights, which is not needed."""

    def __init__(self, *args: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


UNREAD = [
    (_Unread, f"numpy{module}.{name}")
    for module, names in {
        "": ("dtype", "ndarray"),
        ".core.multiarray": ("_reconstruct", "scalar"),
        "._core.multiarray": ("_reconstruct", "scalar"),
    }.items()
    for name in names
]


def read_cnn14(path) -> StateDict:
    """The weights in a published file, whose other entries may hold NumPy objects. Raises UserError."""
    with torch.serialization.safe_globals(UNREAD):
        state = read_weights(path, under="model")
    return {key: value for key, value in state.items() if not key.startswith(TRAINED_WITH)}


def load_panns(
    weights: str | None = None,
    device: str | torch.device = "cpu",
    name: str = "panns",
    channels: Sequence[int] = CHANNELS,
) -> PatchExtractor:
    """The extractor `name` of RELEASES with the weights that `weights` names (`extractors.weights`).

    Raises UserError when they are absent or do not fit, as when the file is the other release's.
    """
    release = RELEASES[name]
    path = release.published.locate(weights)
    net = build(lambda: Cnn14(release.n_fft, release.hop, channels), read_cnn14(path), str(path), torch.float32)
    net.to(device)
    return PatchExtractor(
        name=name,
        sampling_rate=release.sampling_rate,
        dim=channels[-1],
        class_names=class_names(),
        weights_hash=sha256([path]),
        cut=lambda waveform: pad_to(waveform, FEWEST_HOPS * release.hop)[None],
        network=net,
        device=device,
        batch_elements=8 * 10 * release.sampling_rate,
    )
