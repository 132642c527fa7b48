"""Windows cover every frame, know loops, and leave a local jump as it is; decoding in pieces is decoding."""

import pytest
import torch
from gaussian import flow
from helpers import close
from hypothesis import given
from hypothesis import strategies as st

from soundctm.audioldm.chunks import in_chunks
from soundctm.editing.windows import window_starts, windowed
from soundctm.schedule import SigmaSchedule

T, S = torch.tensor(3.0), torch.tensor(0.5)


@given(st.integers(1, 400), st.integers(1, 80), st.floats(0, 0.999), st.booleans())
def test_every_frame_is_in_a_window(frames, window, phase, loop):
    hop = max(1, window // 2)
    starts = window_starts(frames, window, hop, phase, loop)
    seen = {(start + k) % frames if loop else start + k for start in starts for k in range(window)}
    assert seen >= set(range(frames))
    if not loop and frames >= window:
        assert max(seen) == frames - 1


@pytest.mark.parametrize("shape", [(2, 3, 50, 4), (2, 3, 50)])
@pytest.mark.parametrize("loop", [False, True])
def test_a_jump_frame_by_frame_does_not_notice(shape, loop):
    z = torch.randn(shape, dtype=torch.float64)
    close(windowed(flow, 16, loop)(z, T, S), flow(z, T, S), 1e-12)


def test_one_window_is_the_jump_itself():
    z = torch.randn(1, 2, 16, 4)
    assert torch.equal(windowed(flow, 16)(z, T, S), flow(z, T, S))


def test_windows_leave_no_rhythm():
    """A network that is louder in the middle of its windows: over the levels of a clip their places move."""
    window, frames, hop = 16, 1600, 8
    gain = 1 - 0.4 * torch.cos(2 * torch.pi * (torch.arange(window, dtype=torch.float64) + 0.5) / window)
    jump = windowed(lambda z, t, s: z * gain[:, None], window)
    z = torch.randn(1, 64, frames, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = SigmaSchedule().grid(5, torch.float64)
    for t, s in zip(levels[:-1], levels[1:], strict=True):
        z = jump(z, t, s)
    energy = z.square().mean((0, 1, 3))[window:-window]
    energy = energy / energy.mean() - 1
    at = lambda lag: float((energy[lag:] * energy[:-lag]).mean() / energy.square().mean())  # noqa: E731
    assert at(hop) < 0.1 and at(2 * hop) < 0.1


def test_a_loop_has_no_beginning():
    """Turning a loop round turns what becomes of it, up to where the windows lie."""
    smear = lambda z, t, s: z + z.roll(1, 2) * 0 + z.mean(2, keepdim=True)  # noqa: E731
    z = torch.randn(1, 2, 32, 4, dtype=torch.float64)
    jump = windowed(smear, 32, loop=True)
    close(jump(z.roll(16, 2), T, S), jump(z, T, S).roll(16, 2), 1e-12)


def test_decoding_in_pieces_is_decoding():
    """A decoder that sees less far than the context leaves no trace of the pieces."""
    kernel = torch.randn(1, 3, 9, dtype=torch.float64)

    def decode(latents):
        wave = torch.nn.functional.conv1d(latents, kernel, padding=4)[:, 0]
        return wave.repeat_interleave(10, 1)

    z = torch.randn(2, 3, 333, dtype=torch.float64)
    close(in_chunks(decode, z, 40, 8, 10), decode(z), 1e-12)
    assert torch.equal(in_chunks(decode, z[:, :, :50], 40, 8, 10), decode(z[:, :, :50]))
