"""Long clips in pieces: a decoder sees some frames more than a piece on either side, and neighbours are crossfaded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def in_chunks(
    decode: Callable[[Tensor], Tensor], latents: Tensor, chunk: int, context: int, samples_per_frame: int
) -> Tensor:
    """`decode` (latents [B, C, T, ...] -> waveforms [B, T * samples_per_frame]) on pieces of `chunk` frames.

    Each is decoded with `context` frames more on either side, of which half is crossfaded with the neighbour's, so that
    a decoder that sees farther than that leaves no step. Memory does not grow with T, but for the waveform itself.
    A clip of up to chunk + 2 * context frames is decoded whole.
    """
    frames = latents.shape[2]
    if frames <= chunk + 2 * context:
        return decode(latents)
    fade = context // 2 * samples_per_frame  # samples on either side of a join
    rising = (torch.arange(2 * fade, device=latents.device) + 0.5) / max(1, 2 * fade)  # shares of the new piece
    joined: Tensor | None = None
    for start in range(0, frames, chunk):
        end = min(start + chunk, frames)
        first, last = max(0, start - context), min(frames, end + context)
        piece = decode(latents[:, :, first:last])
        if joined is None:
            joined = piece.new_zeros(latents.shape[0], frames * samples_per_frame)
        left = start * samples_per_frame - (fade if start else 0)
        right = end * samples_per_frame + (fade if end < frames else 0)
        right = min(right, last * samples_per_frame)
        piece = piece[:, left - first * samples_per_frame : right - first * samples_per_frame]
        if start:
            overlap = min(2 * fade, piece.shape[1])
            head = joined[:, left : left + overlap]
            piece = torch.cat(
                (torch.lerp(head, piece[:, :overlap], rising[:overlap].to(piece.dtype)), piece[:, overlap:]), dim=1
            )
        joined[:, left:right] = piece
    return joined
