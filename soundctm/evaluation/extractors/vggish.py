"""VGGish: the 128-d embeddings of the official FAD.

A VGG-like network (Hershey et al., 2017, arXiv 1609.09430) on patches of 0.96 s that do not overlap. The embeddings are
those of the official toolkit: the last linear layer's output, without the ReLU after it and without the PCA and 8-bit
quantisation of the AudioSet release.

Input: mono at 16 kHz. Magnitude spectrum of 25 ms (400 samples, periodic Hann, zero-padded to 512) every 10 ms, not
centred; 64 mel bands from 125 to 7500 Hz whose triangles are straight in mel, not in Hz; ln(mel + 0.01); patches of 96
frames. What follows the last whole patch is not looked at; a clip shorter than one patch (15,600 samples) is
zero-padded to one, where the official toolkit drops it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from soundctm.checkpoints.assign import build
from soundctm.evaluation.extractors.patches import PatchExtractor, pad_to
from soundctm.evaluation.extractors.weights import Published, read_weights, sha256

SAMPLING_RATE = 16_000  # Hz
WINDOW, HOP, N_FFT = 400, 160, 512  # samples
PATCH = 96  # frames
ONE_PATCH = (PATCH - 1) * HOP + WINDOW  # samples
N_MELS, FMIN, FMAX = 64, 125.0, 7500.0  # bands, Hz
LOG_OFFSET = 0.01
PUBLISHED = Published("vggish", "vggish-10086976.pth", "release v0.1 of harritaylor/torchvggish on GitHub")


class VGGish(nn.Module):
    """Log-mel patches [N, 96, 64] -> embeddings [N, dim]; names and order of layers are those of the published file.

    `width` is the number of channels of the first convolution, `hidden` that of the two inner linear layers.
    """

    def __init__(self, width: int = 64, hidden: int = 4096, dim: int = 128):
        super().__init__()
        layers, channels = [], 1
        for factor in (1, None, 2, None, 4, 4, None, 8, 8, None):  # of `width`; None halves the map
            if factor is None:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, factor * width, 3, padding=1), nn.ReLU()]
                channels = factor * width
        self.features = nn.Sequential(*layers)
        flat = (PATCH // 16) * (N_MELS // 16) * channels
        self.embeddings = nn.Sequential(
            nn.Linear(flat, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, dim)
        )

    def forward(self, patches: Tensor) -> Tensor:
        maps = self.features(patches[:, None])  # [N, channels, 6, 4]
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # flattened channels last, as in TensorFlow


def log_mel_patches(waveform: Tensor) -> Tensor:
    """Log-mel patches [P, 96, 64] of a waveform [n], P at least 1."""
    frames = pad_to(waveform, ONE_PATCH).unfold(0, WINDOW, HOP)
    magnitude = torch.fft.rfft(frames * torch.hann_window(WINDOW, device=waveform.device), N_FFT).abs()
    banks = get_mel_banks(N_MELS, N_FFT, SAMPLING_RATE, FMIN, FMAX, 100.0, -500.0, 1.0)[0]  # no warping: last three
    mel = magnitude[:, : N_FFT // 2] @ banks.T.to(waveform.device)  # the Nyquist bin lies above every band
    return (mel + LOG_OFFSET).log().unfold(0, PATCH, PATCH).transpose(1, 2)


def load_vggish(weights: str | None = None, device: str | torch.device = "cpu", **size: int) -> PatchExtractor:
    """The extractor with the weights that `weights` names (`extractors.weights`); `size` as for `VGGish`.

    Raises UserError when they are absent or do not fit.
    """
    path = PUBLISHED.locate(weights)
    net = build(lambda: VGGish(**size), read_weights(path), str(path), torch.float32).to(device)
    return PatchExtractor(
        name="vggish",
        sampling_rate=SAMPLING_RATE,
        dim=net.embeddings[-1].out_features,
        class_names=None,
        weights_hash=sha256([path]),
        cut=log_mel_patches,
        network=lambda patches: (net(patches), None),
        device=device,
        batch_elements=64 * PATCH * N_MELS,
    )
