"""A compiled pipeline makes the same clips, with few recordings, and says what a machine cannot do."""

from __future__ import annotations

import logging

import pytest
import torch
from recording import Again

from benchmarks.random_models import random_unet_model
from soundctm.acceleration import Graphs, compile_pipeline
from soundctm.acceleration.compiling import REPEATED, TOKENS, compile_blocks, pad_text
from soundctm.errors import UserError
from soundctm.pipeline import SoundCTMPipeline
from soundctm.text import TextConditioning

CAPTIONS = ["rain", "a dog barks at the rain"]


@pytest.fixture(scope="module")
def parts():
    return random_unet_model("tiny", torch.device("cpu"))


def clips(pipe, prompts=CAPTIONS, **given):
    pipe.text_encoder._cache.clear()
    return pipe(prompts, 2, seed=list(range(len(prompts))), **given)


def test_clips_stay_the_same_and_shapes_are_few(parts):
    pipe = SoundCTMPipeline.from_parts(parts, "ema", "cpu")
    wanted, pair = clips(pipe), clips(pipe, nu=1.5)
    recorder = Again()
    pipe.compiled = compile_pipeline(pipe, "graphs", Graphs(recorder))
    for _ in range(2):
        made = clips(pipe)
        torch.testing.assert_close(made.latents, wanted.latents, rtol=1e-4, atol=1e-5)
        assert abs(made.audios - wanted.audios).max() <= 1e-4 * abs(wanted.audios).max()
    # both captions in one call of the encoder, both jumps in one graph
    assert recorder.recordings == 4 and not pipe.compiled.graphs.failures
    assert sorted(pipe.compiled.seconds) == ["VAE decoder", "network", "text encoder", "vocoder"]
    clips(pipe, ["a caption of another length"] * 2)
    assert recorder.recordings == 5  # of the encoder: it is one caption, given twice
    torch.testing.assert_close(clips(pipe, nu=1.5).latents, pair.latents, rtol=1e-4, atol=1e-5)
    assert not pipe.compiled.remarks
    with pytest.raises(UserError, match=r"compiled already \(graphs\)"):
        pipe.compile()


def test_a_machine_without_a_gpu_says_so_and_runs_as_it_is(parts, caplog):
    pipe = SoundCTMPipeline.from_parts(parts, "ema", "cpu")
    wanted = clips(pipe)
    with caplog.at_level(logging.WARNING):
        done = pipe.compile()
    assert done.remarks == ["CUDA graphs need an NVIDIA GPU; on cpu every part runs as it is"]
    assert [record.getMessage() for record in caplog.records] == done.remarks
    assert torch.equal(clips(pipe).latents, wanted.latents)
    with pytest.raises(UserError, match="must be one of graphs, inductor"):
        SoundCTMPipeline.from_parts(parts, "ema", "cpu").compile("fast")


def test_where_torch_cannot_compile_blocks_run_as_they_are(parts, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("no C++ compiler found\nmore")

    monkeypatch.setattr(torch, "compile", refuse)
    done = SoundCTMPipeline.from_parts(parts, "ema", "cpu").compile("inductor")
    assert done.blocks == 0
    assert done.remarks[0] == "torch cannot compile here, so the blocks run as they are: no C++ compiler found"


def test_the_repeated_blocks_are_those_that_are_compiled():
    network = random_unet_model("tiny", torch.device("cpu")).ema
    count = compile_blocks(network)
    compiled = [part for part in network.modules() if part._compiled_call_impl is not None]
    assert count == len(compiled) > 4 and {type(part).__name__ for part in compiled} <= set(REPEATED)


def test_text_is_padded_to_a_multiple_and_masked():
    text = TextConditioning(torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool))
    padded = pad_text(text)
    assert padded.hidden.shape == (2, TOKENS, 3) and padded.mask.sum(1).tolist() == [5, 5]
    assert torch.equal(padded.hidden[:, :5], text.hidden) and pad_text(padded) is padded and pad_text(None) is None
    single = TextConditioning(text.hidden[:, :1], text.mask[:, :1])
    assert pad_text(single) is single
