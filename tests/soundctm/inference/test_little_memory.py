"""Little memory: fewer clips at once, parts that take turns on a GPU, and one sentence where nothing helps."""

import pytest
import torch
from diffusers import DiffusionPipeline

from soundctm.acceleration.onednn import OneDNNLinear
from soundctm.errors import UserError


@pytest.fixture
def limited(pipeline, monkeypatch):
    """The fake pipeline with memory for some clips at once, and how many were asked for."""
    asked, inner, error = [], type(pipeline).__call__, [torch.OutOfMemoryError("CUDA out of memory")]

    def limit(clips, raised=None):
        error[0] = raised or error[0]

        def call(self, prompts, *args, **settings):
            asked.append(len(prompts))
            if len(prompts) > clips:
                raise error[0]
            return inner(self, prompts, *args, **settings)

        monkeypatch.setattr(type(pipeline), "__call__", call)
        return asked

    return limit


def wavs(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


@pytest.fixture
def captions(tmp_path):
    (path := tmp_path / "captions.txt").write_text("".join(f"sound {k}\n" for k in range(11)))
    return str(path)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_batch_that_does_not_fit_is_made_in_smaller_ones(infer, limited, captions, tmp_path, caplog, error):
    assert infer("--test_file", captions, "--batch_size", "1") == 0
    wanted = wavs(tmp_path / "out")
    asked = limited(2, error)
    assert infer("--test_file", captions, "--batch_size", "8", "--output_dir", str(tmp_path / "few")) == 0
    assert asked == [8, 4, 2, 2, 2, 2, 2, 1]
    assert wavs(tmp_path / "few") == wanted
    assert "not enough memory for 8 clips at once; going on with 4" in caplog.text


def test_no_memory_for_one_clip_is_one_sentence(infer, limited, captions, capsys):
    asked = limited(0)
    assert infer("--test_file", captions, "--batch_size", "2") == 2
    assert asked == [2, 1] and "not enough memory for one clip; give --offload" in capsys.readouterr().err


def test_other_errors_are_not_taken_for_it(infer, limited, captions):
    limited(0, RuntimeError("sizes do not match"))
    with pytest.raises(RuntimeError, match="sizes do not match"):
        infer("--test_file", captions)


def test_offload_and_compile_exclude_each_other(infer, capsys):
    assert infer("--prompt", "rain", "--offload", "true", "--compile", "graphs") == 2
    assert "give one of them" in capsys.readouterr().err


def test_parts_take_turns_laid_out_for_the_gpu(monkeypatch):
    from soundctm.inference.model import load_pipeline
    from soundctm.inference.options import InferenceOptions

    told = []
    monkeypatch.setattr(
        DiffusionPipeline, "enable_model_cpu_offload", lambda self, gpu_id, device: told.append((self.device, device))
    )
    pipe = load_pipeline(InferenceOptions(prompt=("rain",), checkpoint="mini", offload=True), "cuda:0")
    assert told == [(torch.device("cpu"), torch.device("cuda:0"))]
    assert pipe.network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(isinstance(part, OneDNNLinear) for part in pipe.network.modules())
    pipe = load_pipeline(InferenceOptions(prompt=("rain",), checkpoint="mini", offload=True), "cpu")
    assert len(told) == 1
    monkeypatch.setattr("soundctm.pipeline.assembled.default_device", lambda: "cpu")
    with pytest.raises(UserError, match="no GPU here"):
        pipe.enable_model_cpu_offload()
