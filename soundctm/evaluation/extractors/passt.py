"""PaSST: logits of 527 AudioSet classes, of which the official KL and inception score are made.

A vision transformer on overlapping patches of a spectrogram (Koutini et al., 2021, arXiv 2110.05069), the model
passt_s_swa_p16_128_ap476 of the package hear21passt. Its blocks are torch's own encoder layers; the published names
are mapped onto them. Embeddings are the 768-d mean of its two class tokens.

Input: mono at 32 kHz, 10 s, shorter clips zero-padded at the end; longer ones are read in windows (`patches.windows`),
of which embeddings are averaged and logits pooled. With `overlapping`, as in stable-audio-metrics and the official
44.1 kHz evaluation, windows begin every 5 s (10.03 s make two, the second one half empty) and logits are averaged
themselves, which gives other numbers. Pre-emphasis y[n] = x[n+1] - 0.97 x[n]; centred power spectrum of
1024 points with a symmetric Hann window of 800 samples every 320; 128 mel bands (Kaldi's) from 0 to 15 kHz;
(ln(mel + 1e-5) + 4.5) / 5.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from soundctm.checkpoints.assign import build
from soundctm.checkpoints.torch_files import StateDict
from soundctm.evaluation.extractors.audioset import class_names
from soundctm.evaluation.extractors.patches import PatchExtractor, pad_to, windows
from soundctm.evaluation.extractors.weights import PASST, read_weights, sha256

SAMPLING_RATE = 32_000  # Hz
INPUT = 320_000  # samples: 10 s
OVERLAP = 160_000  # samples between the starts of overlapping windows
N_FFT, WINDOW, HOP = 1024, 800, 320  # samples
N_MELS, FMIN, FMAX = 128, 0.0, 15_000.0  # bands, Hz
PREEMPHASIS, LOG_OFFSET = 0.97, 1e-5
PATCH, STRIDE = 16, 10  # mel bands and frames
GRID = (12, 99)  # patches over frequency and time
NAMES = {  # ours from the published, within a key
    "patch_embed.proj.": "patch_embed.",
    ".attn.qkv.": ".self_attn.in_proj_",
    ".attn.proj.": ".self_attn.out_proj.",
    ".mlp.fc1.": ".linear1.",
    ".mlp.fc2.": ".linear2.",
}
UNUSED = "head_dist."  # a second classifier, used in training alone


class PaSST(nn.Module):
    """Spectrograms [N, 128, 1000] -> (embeddings [N, width], logits [N, classes]).

    The position of a patch is a sum of a learned vector for its time and one for its frequency.
    """

    def __init__(self, width: int = 768, depth: int = 12, heads: int = 12, classes: int = 527):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.new_pos_embed = nn.Parameter(torch.zeros(1, 2, width))  # of the two tokens
        self.freq_new_pos_embed = nn.Parameter(torch.zeros(1, width, GRID[0], 1))
        self.time_new_pos_embed = nn.Parameter(torch.zeros(1, width, 1, GRID[1]))
        self.patch_embed = nn.Conv2d(1, width, PATCH, STRIDE)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, spectrograms: Tensor) -> tuple[Tensor, Tensor]:
        patches = self.patch_embed(spectrograms[:, None]) + self.time_new_pos_embed + self.freq_new_pos_embed
        tokens = torch.cat([self.cls_token, self.dist_token], 1) + self.new_pos_embed
        x = torch.cat([tokens.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        for block in self.blocks:
            x = block(x)
        embeddings = self.norm(x[:, :2]).mean(1)
        return embeddings, self.head(embeddings)


def log_mel(waveforms: Tensor) -> Tensor:
    """Spectrograms [N, 128, 1000] of waveforms [N, 320000]."""
    emphasised = waveforms[:, 1:] - PREEMPHASIS * waveforms[:, :-1]
    window = torch.hann_window(WINDOW, periodic=False, device=waveforms.device)
    spectrum = torch.stft(emphasised, N_FFT, HOP, WINDOW, window, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    banks = get_mel_banks(N_MELS, N_FFT, SAMPLING_RATE, FMIN, FMAX, 100.0, -500.0, 1.0)[0]  # no warping: last three
    mel = banks.to(waveforms.device) @ power[:, : N_FFT // 2]  # the Nyquist bin lies above every band
    return ((mel + LOG_OFFSET).log() + 4.5) / 5


def rename(state: StateDict) -> StateDict:
    """The published state dict under our names, without what is unused."""
    renamed = {}
    for key, value in state.items():
        for theirs, ours in NAMES.items():
            key = key.replace(theirs, ours)
        if not key.startswith(UNUSED):
            renamed[key] = value
    return renamed


def overlapping_windows(waveform: Tensor) -> list[Tensor]:
    """A clip [n] as windows of at most 10 s that begin every 5 s, until one reaches within 5 s of the end or beyond."""
    last = max(OVERLAP, len(waveform) - OVERLAP)
    return [waveform[start : start + INPUT] for start in range(0, last, OVERLAP)]


def load_passt(
    weights: str | None = None, device: str | torch.device = "cpu", overlapping: bool = False, **size: int
) -> PatchExtractor:
    """The extractor with the weights that `weights` names (`extractors.weights`); `size` as for `PaSST`.

    Raises UserError when they are absent or do not fit.
    """
    path = PASST.locate(weights)
    net = build(lambda: PaSST(**size), rename(read_weights(path)), str(path), torch.float32).to(device)
    cut = overlapping_windows if overlapping else lambda waveform: windows(waveform, INPUT)
    return PatchExtractor(
        name="passt_windows" if overlapping else "passt",
        sampling_rate=SAMPLING_RATE,
        dim=net.norm.normalized_shape[0],
        class_names=class_names(),
        weights_hash=sha256([path]),
        cut=lambda waveform: torch.stack([pad_to(window, INPUT) for window in cut(waveform)]),
        network=lambda rows: net(log_mel(rows)),
        device=device,
        batch_elements=8 * INPUT,
        summarise=lambda embeddings: embeddings.mean(0, keepdim=True),
        pool=(lambda logits: logits.mean(0)) if overlapping else None,
    )
