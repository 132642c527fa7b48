"""Making a vocoder's waveform agree with the mel it was made from.

A vocoder's frames rarely give back the log-mel that it was asked for. Each iteration here takes the STFT of the present
waveform, scales every bin by how far the mel bands around it are off, and puts the frames together again:

    S = STFT(y);   |S|' = |S| exp( sum_b w[f, b] (target[t, b] - log-mel(|S|)[t, b]) );   y = iSTFT(|S|' e^{i arg Z})

w[f, b] is the share of band b among the bands that contain bin f. The phases are those of Z = S + momentum (S - S of
the iteration before), which is fast Griffin-Lim (Perraudin et al. 2013). Where Griffin-Lim needs all magnitudes, this
needs the mel alone, and keeps the fine structure between the bands that the vocoder found.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .mel import LogMel

MAX_STEP = 9.0  # largest change of a log magnitude in one iteration; from the mel's floor to full scale is 16


@torch.no_grad()
def refine(waveform: Tensor, log_mel: Tensor, mel: LogMel, iterations: int, momentum: float = 0.9) -> Tensor:
    """Waveforms [B, T * hop] nearer to `log_mel` [B, 1, T, mels] than `waveform` [B, T * hop]; float32."""
    config = mel.config
    window, basis = mel.window.float(), mel.basis.float()
    target = log_mel[:, 0].float()
    frames, samples = target.shape[1], waveform.shape[1]
    shares = (basis / basis.sum(1, keepdim=True).clamp_min(1e-9)).T  # [mels, bins]
    waveform, before = waveform.float(), None
    for _ in range(iterations):
        spectrum = torch.stft(waveform, config.n_fft, config.hop_length, window=window, return_complex=True)
        ahead = spectrum if before is None else spectrum + momentum * (spectrum - before)
        before = spectrum
        magnitude = spectrum.abs().clamp_min(1e-7)
        present = (magnitude.transpose(1, 2) @ basis).clamp_min(config.clamp).log()
        change = (target - present[:, :frames]).clamp(-MAX_STEP, MAX_STEP) @ shares
        # The STFT has a frame more than the mel: the one after the end, which changes as the last one does.
        change = torch.cat((change, change[:, -1:]), dim=1)
        scaled = magnitude * change.transpose(1, 2).exp()
        corrected = ahead * (scaled / ahead.abs().clamp_min(1e-9))
        waveform = torch.istft(corrected, config.n_fft, config.hop_length, window=window, length=samples)
    return waveform
