"""Whole runs with a fake pipeline: files, manifest, continuation, refusal."""

import csv
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from soundctm.config import load_config
from soundctm.files.sounds import to_integers
from soundctm.inference.manifest import COLUMNS
from soundctm.inference.options import InferenceOptions
from soundctm.inference.workers import Workers


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("file_name,caption\na.wav,rain\nb.wav,wind\nc.wav,hail\n")
    return str(path)


def rows(out):
    with open(out / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def wavs(out):
    return {path.name: path.read_bytes() for path in out.glob("*.wav")}


def test_every_clip_is_written_and_described(infer, out, captions, pipeline):
    assert infer("--test_file", captions, "--batch_size", "2", "--num_samples", "2", "--num_steps", "4") == 0
    assert set(wavs(out)) == {f"{name}_{k}.wav" for name in "abc" for k in (0, 1)}
    assert [call.prompts for call in pipeline.calls] == [["rain"] * 2, ["wind"] * 2, ["hail"] * 2]
    entries = rows(out)
    assert list(entries[0]) == COLUMNS and len(entries) == 6
    assert entries[0]["caption"] == "rain" and entries[0]["steps"] == "4" and entries[0]["seconds"] == "0.32"
    audio, rate = soundfile.read(out / "a_0.wav", dtype="int16")
    assert rate == 16000 and soundfile.info(out / "a_0.wav").subtype == "PCM_16" and audio.max() == 32767
    assert load_config(InferenceOptions, out / "config.yaml").num_steps == 4
    assert not list(out.glob(".*")), "temporary files are left"


def test_full_scale_does_not_wrap():
    assert to_integers(np.array([1.0, -1.0, 0.0, 2.0, -2.0]), 16).tolist() == [32767, -32768, 0, 32767, -32768]


def test_a_clip_does_not_depend_on_batch_list_or_place(infer, out, captions, tmp_path):
    infer("--test_file", captions, "--batch_size", "3")
    together = wavs(out)
    other = tmp_path / "other.csv"
    other.write_text("file_name,caption\nd.wav,thunder\nb.wav,wind\n")
    infer("--test_file", str(other), "--output_dir", str(tmp_path / "second"))
    assert wavs(tmp_path / "second")["b.wav"] == together["b.wav"]


def test_an_interrupted_run_goes_on_where_it_stopped(infer, out, captions, pipeline):
    pipeline.stop_before = 2
    assert infer("--test_file", captions) == 130
    assert set(wavs(out)) == {"a.wav", "b.wav"} and len(rows(out)) == 2
    pipeline.stop_before = None
    before = (out / "a.wav").stat().st_mtime_ns
    assert infer("--test_file", captions) == 0
    assert [call.prompts for call in pipeline.calls[2:]] == [["hail"]]
    assert (out / "a.wav").stat().st_mtime_ns == before and len(rows(out)) == 3


def test_a_finished_run_loads_no_model(infer, out, captions, pipeline):
    infer("--test_file", captions)
    assert infer("--test_file", captions, "--batch_size", "2", "--device", "nonsense") == 0
    assert len(pipeline.calls) == 3


def test_stopped_at_the_worst_moments(infer, out, captions, pipeline):
    infer("--test_file", captions)
    (out / "b.wav").unlink()  # described, but not renamed to its place
    manifest = (out / "manifest.csv").read_bytes()
    (out / "manifest.csv").write_bytes(manifest + b"d.wav,half a li")
    assert infer("--test_file", captions) == 0
    assert pipeline.calls[-1].prompts == ["wind"] and len(pipeline.calls) == 4
    assert [row["file"] for row in rows(out)] == ["a.wav", "b.wav", "c.wav"]


def test_other_settings_are_refused_unless_overwritten(infer, out, captions, pipeline, capsys):
    infer("--test_file", captions)
    first = wavs(out)
    assert infer("--test_file", captions, "--num_steps", "2") == 2
    said = capsys.readouterr().err
    assert "a.wav was made with steps 1 and not 2" in said and "--overwrite" in said
    assert wavs(out) == first and len(pipeline.calls) == 3
    assert infer("--test_file", captions, "--seed", "1", "--overwrite") == 0
    assert len(rows(out)) == 3 and wavs(out).keys() == first.keys() and wavs(out)["a.wav"] != first["a.wav"]


def test_settings_without_effect_do_not_matter(infer, captions, pipeline):
    infer("--test_file", captions)
    assert infer("--test_file", captions, "--sampling_gamma", "0.3", "--sampler", "determinisitc") == 0
    assert len(pipeline.calls) == 3


def test_a_checkpoint_that_was_trained_on_is_another(infer, captions, checkpoint, capsys):
    infer("--test_file", captions)
    (checkpoint / "README.md").write_text("a better model card")
    assert infer("--test_file", captions) == 0
    (checkpoint / "ema" / "weights.safetensors").write_bytes(b"0" * 299_999 + b"1")
    assert infer("--test_file", captions) == 2
    assert "fingerprint" in capsys.readouterr().err


def test_foreign_wavs_are_left_alone(infer, out, captions, capsys):
    out.mkdir()
    (out / "a.wav").write_bytes(b"mine")
    assert infer("--test_file", captions) == 2
    assert "manifest.csv lacks it" in capsys.readouterr().err and (out / "a.wav").read_bytes() == b"mine"


def test_more_captions_may_follow_in_the_same_folder(infer, out, captions):
    infer("--test_file", captions)
    assert infer("--prompt", "a bell, far away", "--prompt", "a bell") == 0
    assert set(wavs(out)) == {"a.wav", "b.wav", "c.wav", "a_bell_far_away.wav", "a_bell.wav"} and len(rows(out)) == 5


def test_options_reach_the_pipeline(infer, pipeline):
    infer(
        *("--prompt", "rain", "--sampler", "gamma_multistep", "--sampling_gamma", "0.25", "--nu", "1.5"),
        *("--omega", "none", "--num_steps", "8"),
    )
    (call,) = pipeline.calls
    assert (call.sampler, call.gamma, call.nu, call.omega, call.steps) == ("gamma_multistep", 0.25, 1.5, "none", 8)


def test_historic_spelling_of_the_sampler(infer, pipeline):
    assert infer("--prompt", "rain", "--sampler", "determinisitc") == 0
    assert pipeline.calls[0].sampler == "deterministic"


@pytest.mark.parametrize(("length", "asked"), [("0.1", None), ("0.32", None), ("0.5", 0.52)])
def test_target_length_cuts_or_asks_for_more(infer, out, pipeline, length, asked):
    infer("--prompt", "rain", "--target_length", length)
    assert soundfile.info(out / "rain.wav").frames == round(float(length) * 16000)
    got = pipeline.calls[0].seconds
    assert got is None if asked is None else got == pytest.approx(asked)


def test_sampling_rate_resamples_and_may_be_written_as_a_float(infer, out):
    infer("--prompt", "rain", "--sampling_rate", "8000.0")
    assert (soundfile.info(out / "rain.wav").samplerate, soundfile.info(out / "rain.wav").frames) == (8000, 2560)


def test_spectrograms_with_any_title(infer, out):
    odd = "cost $5 and \\frac{1} of 雷 " + "x" * 200
    assert infer("--prompt", odd, "--prompt", "rain", "--save_spectrograms") == 0
    assert [path.read_bytes()[:4] for path in out.glob("*.png")] == [b"\x89PNG"] * 2


def test_spectrograms_of_clips_that_are_there_need_no_model(infer, out, pipeline):
    infer("--prompt", "rain")
    assert infer("--prompt", "rain", "--save_spectrograms") == 0
    assert (out / "rain.png").exists() and len(pipeline.calls) == 1


def test_sound_that_is_not_finite_is_not_written(infer, out, pipeline, monkeypatch, capsys):
    monkeypatch.setattr(np, "sin", lambda x: x * np.nan)
    assert infer("--prompt", "rain") == 2
    said = capsys.readouterr().err
    assert "not finite" in said and "float32" not in said and not wavs(out)
    assert infer("--prompt", "rain", "--dtype", "bfloat16") == 2
    assert "try dtype float32" in capsys.readouterr().err and not wavs(out)


def test_several_processes_share_the_clips(infer, out, captions, pipeline, monkeypatch):
    """Threads that meet at a barrier stand for the processes of `accelerate launch`."""
    barrier = threading.Barrier(2, timeout=30)
    alike = [Workers(index, 2, SimpleNamespace(wait_for_everyone=barrier.wait)) for index in (0, 1)]
    monkeypatch.setattr(Workers, "of_environment", classmethod(lambda cls: alike.pop()))
    with ThreadPoolExecutor() as pool:
        assert [f.result() for f in [pool.submit(infer, "--test_file", captions) for _ in range(2)]] == [0, 0]
    assert set(wavs(out)) == {"a.wav", "b.wav", "c.wav"} and len(rows(out)) == 3
    assert sorted(call.prompts[0] for call in pipeline.calls) == ["hail", "rain", "wind"]
