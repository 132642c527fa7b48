"""The linear mel VAE: optimal among linear ones, exact where it can be, and a codec like any other."""

import json

import pytest
import torch

from soundctm.audioldm import AudioLDMCodec, CodecError
from soundctm.audioldm.patches import PatchVAE


def smooth_mel(seed: int = 0, rows: int = 4) -> torch.Tensor:
    """Noise made smooth over time and bands, around a level of -6."""
    noise = torch.randn(rows, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    return 8 * torch.nn.functional.avg_pool2d(noise, 7, stride=1, padding=3) - 6


def test_all_components_give_the_mel_back():
    mel = smooth_mel()
    vae = PatchVAE(4, 16).fit(mel)
    again = vae.decode(vae.encode(mel).latent_dist.mean).sample
    # The bias is one number for the patch: what is off is the same in every patch, and small.
    error = torch.nn.functional.pixel_unshuffle(again - mel, 4)
    assert error.abs().max() < 0.1 and error.std((0, 2, 3)).max() < 1e-4


def test_latents_are_uncorrelated_with_the_deviations_that_the_whitening_asks_for():
    mel = smooth_mel()
    plain, half, white = (
        PatchVAE(4, 8).fit(mel, w).encode(mel).latent_dist.mean.transpose(0, 1).flatten(1) for w in (0.0, 0.5, 1.0)
    )
    torch.testing.assert_close(torch.cov(white), torch.eye(8), rtol=0, atol=2e-3)
    torch.testing.assert_close(torch.cov(half).diagonal(), plain.std(1), rtol=2e-3, atol=0)
    assert (plain.std(1).diff() <= 0).all()  # the first component carries most


def test_the_error_is_what_the_left_out_components_hold():
    mel = smooth_mel()
    every, some = PatchVAE(4, 16).fit(mel, 0.0), PatchVAE(4, 8).fit(mel, 0.0)
    left_out = every.encode(mel).latent_dist.mean[:, 8:].var((0, 2, 3)).sum() / 16
    error = (
        (
            every.decode(every.encode(mel).latent_dist.mean).sample
            - some.decode(some.encode(mel).latent_dist.mean).sample
        )
        .square()
        .mean()
    )
    torch.testing.assert_close(error, left_out, rtol=1e-2, atol=1e-6)


def test_the_posterior_has_no_noise_and_any_whitening_decodes_alike():
    mel = smooth_mel(1)
    vae = PatchVAE(4, 8).fit(mel, 0.5)
    posterior = vae.encode(mel).latent_dist
    torch.testing.assert_close(posterior.sample(torch.Generator().manual_seed(0)), posterior.mean, rtol=0, atol=1e-5)
    other = PatchVAE(4, 8).fit(mel, 1.0)
    torch.testing.assert_close(
        vae.decode(posterior.mean).sample, other.decode(other.encode(mel).latent_dist.mean).sample, rtol=0, atol=1e-4
    )


def test_a_codec_with_it_is_saved_and_read(tmp_path):
    codec = AudioLDMCodec(PatchVAE(4, 8).fit(smooth_mel()), None, scale_factor=0.5, default_seconds=2.56, refinements=3)
    codec.save_pretrained(tmp_path)
    again = AudioLDMCodec.from_pretrained(tmp_path)
    assert isinstance(again.vae, PatchVAE) and again.refinements == 3
    assert again.latent_shape() == (8, 64, 16) and again.frames_per_latent == 4
    ours, theirs = (each.encode_mel(smooth_mel(2), sample_posterior=False) for each in (codec, again))
    assert torch.equal(ours, theirs)
    config = tmp_path / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "os.system"}))
    with pytest.raises(CodecError, match="names the VAE os.system"):
        AudioLDMCodec.from_pretrained(tmp_path)


def test_more_channels_than_values_are_refused():
    with pytest.raises(CodecError, match="5 channels cannot be had of patches of 4 values"):
        PatchVAE(2, 5)
