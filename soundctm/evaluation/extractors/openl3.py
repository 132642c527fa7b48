"""OpenL3: 512-d embeddings of seconds of sound, for the FD of full-band papers.

A small VGG on log-mels, trained to tell which sound belongs to which video (Cramer et al., 2019); here the one on 256
mels, trained on environmental sounds. `openl3` is mono; `openl3_stereo` puts the embeddings of both channels side by
side (1024-d), as stable-audio-metrics does for every model, mono ones too.

Input: at 48 kHz. Half a second of zeros before the clip, zeros after it until windows of 1 s every 0.5 s cover it.
Per window, as openl3 0.4.2 with kapre 0.3.7 computes it: magnitudes of a 2048-point STFT (periodic Hann window, hop
242, zeros at the end alone: 199 frames), 256 slaney mels up to 24 kHz, 10 log10 of at least 1e-10, relative to the
loudest point of the window, at least -80. openl3 0.3 and torchopenl3 have other mels of the same name (HTK's, padded on
both sides), on which these weights were trained; published FDs come from version 0.4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

from soundctm.checkpoints.assign import build
from soundctm.evaluation.extractors.openl3_files import read_openl3
from soundctm.evaluation.extractors.patches import PatchExtractor
from soundctm.evaluation.extractors.weights import OPENL3, sha256

SAMPLING_RATE = 48_000  # Hz
WINDOW, STEP = 48_000, 24_000  # samples: 1 s every 0.5 s
N_FFT, HOP, N_MELS = 2048, 242, 256
FRAMES = math.ceil(WINDOW / HOP)
AMIN, RANGE = 1e-10, 80.0  # of magnitudes, dB
EPSILON = 1e-3  # of batch norms, Keras' default
WIDTH = 64


class OpenL3(nn.Module):
    """Log-mels [N, 256, 199] -> embeddings [N, 8 width]: batch norm, then eight convolutions with one between each."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        channels = [1, *(factor * width for factor in (1, 1, 2, 2, 4, 4, 8, 8))]
        self.norms = nn.ModuleList(nn.BatchNorm2d(number, eps=EPSILON) for number in channels[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(channels, channels[1:], strict=False)
        )

    def forward(self, mels: Tensor) -> Tensor:
        x = self.convs[0](self.norms[0](mels[:, None]))
        for number, (norm, conv) in enumerate(zip(self.norms[1:], self.convs[1:], strict=True), start=1):
            x = norm(x).relu()
            if number in (2, 4, 6):
                x = F.max_pool2d(x, 2)
            x = conv(x)
        return x.amax((2, 3))  # 32 x 24 points are left


def log_mel(windows: Tensor) -> Tensor:
    """Log-mels [N, 256, 199] in dB below the loudest point of each window [N, 48000]."""
    padded = F.pad(windows, (0, (FRAMES - 1) * HOP + N_FFT - WINDOW))
    window = torch.hann_window(N_FFT, device=windows.device)
    magnitudes = torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True).abs()
    banks = melscale_fbanks(N_FFT // 2 + 1, 0.0, SAMPLING_RATE / 2, N_MELS, SAMPLING_RATE, "slaney", "slaney")
    decibels = 10 * (banks.T.to(windows.device) @ magnitudes).clamp_min(AMIN).log10()
    return (decibels - decibels.amax((1, 2), keepdim=True)).clamp_min(-RANGE)


def cut(waveform: Tensor) -> Tensor:
    """A clip [..., n] as windows [P, ..., 48000] every half second, the first centred on its start."""
    length = STEP + waveform.shape[-1]
    more = max(0, math.ceil((length - WINDOW) / STEP))
    padded = F.pad(waveform, (STEP, WINDOW + more * STEP - length))
    return padded.unfold(-1, WINDOW, STEP).movedim(-2, 0)


def load_openl3(
    weights: str | None = None, device: str | torch.device = "cpu", stereo: bool = False, width: int = WIDTH
) -> PatchExtractor:
    """The extractor with the weights that `weights` names (`extractors.weights`, `openl3_files`).

    Raises UserError when they are absent or do not fit.
    """
    path = OPENL3.locate(weights)
    net = build(lambda: OpenL3(width), read_openl3(path), str(path), torch.float32).to(device)

    def network(rows: Tensor) -> tuple[Tensor, None]:
        embeddings = net(log_mel(rows.reshape(-1, WINDOW)))
        return embeddings.reshape(len(rows), -1), None  # left, then right

    return PatchExtractor(
        name="openl3_stereo" if stereo else "openl3",
        sampling_rate=SAMPLING_RATE,
        dim=8 * width * (2 if stereo else 1),
        class_names=None,
        weights_hash=sha256([path]),
        cut=cut,
        network=network,
        device=device,
        batch_elements=16 * WINDOW,
        stereo=stereo,
    )
