"""The benchmark of inference at its smallest size: equal clips, what it reports, and the script for GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import inference, machine
from benchmarks.random_models import WordNumbers, random_unet_model
from soundctm.acceleration import why_no_int8
from soundctm.errors import UserError

ROOT = Path(__file__).parents[2]
TINY = ["--size", "tiny", "--device", "cpu", "--repeats", "1"]


def test_both_ways_make_the_same_clips_and_everything_is_reported(tmp_path, capsys):
    found = inference.main([*TINY, "--batch_sizes", "1", "3", "--steps", "1", "2", "--write", str(tmp_path / "t.json")])
    assert json.loads((tmp_path / "t.json").read_text()) == json.loads(json.dumps(found))
    assert [(entry["steps"], entry["batch_size"]) for entry in found["results"]] == [(1, 1), (1, 3), (2, 1), (2, 3)]
    for entry in found["results"]:
        assert entry["apart"]["latents"] < 1e-4 and entry["apart"]["waveform"] < 1e-4
        assert entry["seconds_of_sound"] == pytest.approx(0.32)
        for way in ("official", "ours"):
            stages = entry[way]["stages"]
            assert list(stages) == ["text", "network", "vae", "vocoder", "rest"]
            assert all(stages[name] > 0 for name in stages if name != "rest")  # no caption came out of a cache
        own = entry["ours"]["seconds_per_clip"]
        assert entry["ratio"] == pytest.approx(entry["official"]["seconds_per_clip"] / own)
        assert entry["real_time_factor"] == pytest.approx(own / 0.32)
        assert 0 < entry["network_tflop"] < entry["tflop"]
    one, two = (found["results"][index]["network_tflop"] for index in (0, 2))
    assert two == pytest.approx(2 * one, rel=1e-6)
    assert found["machine"]["cpu"] and found["machine"]["versions"]["torch"] and found["options"]["size"] == "tiny"
    assert "times as fast" in capsys.readouterr().out


def test_both_ways_of_the_transformer_make_the_same_clips():
    found = inference.main([*TINY, "--model", "dit", "--batch_sizes", "1", "3", "--steps", "2"])
    assert [(entry["steps"], entry["batch_size"]) for entry in found["results"]] == [(2, 1), (2, 3)]
    for entry in found["results"]:
        assert entry["apart"]["latents"] < 1e-4 and entry["apart"]["waveform"] < 1e-4
        assert entry["seconds_of_sound"] == pytest.approx(0.325, abs=0.005)
        for way in ("official", "ours"):
            stages = entry[way]["stages"]
            assert list(stages) == ["text", "network", "decoder", "rest"]
            assert all(stages[name] > 0 for name in stages if name != "rest")


def test_the_official_way_of_the_transformer_runs_its_text_for_every_step_and_prompt():
    args = inference.argparse.Namespace(model="dit", size="tiny", dtype="fp32")
    plain, pipe = inference.build(args, torch.device("cpu"))
    frames = {"plain": [], "ours": []}  # rows of the cross attention's keys, and texts
    texts = {"plain": [], "ours": []}
    for name, network, encoder in (
        ("plain", plain.network, plain.encoder),
        ("ours", pipe.network, pipe.text_encoder.model),
    ):
        attention = network.transformer_blocks[0].attn2.to_v
        attention.register_forward_pre_hook(lambda _, inputs, name=name: frames[name].append(len(inputs[0])))
        encoder.text_model.register_forward_pre_hook(
            lambda _, inputs, kwargs, name=name: texts[name].append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
        )
    inference.compare(plain, pipe, 3, 5.0)
    assert frames == {"plain": [2, 2, 2], "ours": [1]}
    words = len(inference.captions(1)[0].split()) + 2
    assert texts == {"plain": [(1, 77)] * 6, "ours": [(1, words)]}


def test_the_official_way_costs_twice_the_network_and_text_at_every_step():
    args = inference.argparse.Namespace(model="unet", size="tiny", dtype="fp32")
    plain, pipe = inference.build(args, torch.device("cpu"))
    calls = {"plain": [], "ours": []}
    for name, unet in (("plain", plain.network), ("ours", pipe.network)):
        unet.register_forward_pre_hook(lambda _, inputs, name=name: calls[name].append(len(inputs[0])))
    texts = []
    plain.encoder.register_forward_pre_hook(
        lambda _, inputs, kwargs: texts.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    inference.compare(plain, pipe, 3)
    assert calls == {"plain": [2, 2, 2], "ours": [1, 1, 1]} and texts == [2, 2, 2]
    assert all(a is not b for a, b in zip(plain.network.parameters(), pipe.network.parameters(), strict=True))


def test_times_of_ways_that_disagree_are_not_given(monkeypatch, capsys):
    monkeypatch.setattr(inference, "differences", lambda *_: {"latents": 0.1, "waveform": 0.0, "waveform_db": 20.0})
    with pytest.raises(UserError, match="do not agree to 0.001 in float32"):
        inference.main(TINY)
    assert "times as fast" not in capsys.readouterr().out
    with pytest.raises(UserError, match="must be at least 1"):
        inference.main([*TINY, "--steps", "0"])


def test_half_precision_is_ours_alone():
    args = inference.argparse.Namespace(model="unet", size="tiny", dtype="bf16")
    plain, pipe = inference.build(args, torch.device("cpu"))
    assert plain.network.dtype == torch.float32 and pipe.network.dtype == torch.bfloat16
    assert 1e-5 < inference.compare(plain, pipe, 1)["latents"] < 0.2


def test_random_models_are_the_same_for_one_seed():
    first, again = (random_unet_model("tiny", torch.device("cpu"), seed=3).ema.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert WordNumbers(100)(["a b", ""])["input_ids"] == [[*WordNumbers(100)(["a b"])["input_ids"][0]], [1]]


def test_parts_are_joined_and_failures_are_named(tmp_path):
    (tmp_path / "good.json").write_text('{"value": 1}')
    for name, code in (("good", "0"), ("bad", "124"), ("printing", "0")):
        (tmp_path / f"{name}.status").write_text(code + "\n")
        (tmp_path / f"{name}.log").write_text(f"{name} was here")
    machine.join(tmp_path, tmp_path / "out" / "gpu.json")
    assert json.loads((tmp_path / "out" / "gpu.json").read_text()) == {
        "parts": {"good": {"value": 1}},
        "printed": {"printing": "printing was here"},
        "failed": {"bad": {"exit": "124", "log": "bad was here"}},
    }


def test_compiled_ways_follow_and_rows_without_an_official_one_have_no_ratio(tmp_path, capsys):
    file = tmp_path / "t.json"
    options = ["--modes", "eager", "graphs", "--steps", "1", "2", "--official_steps", "2", "--official_repeats", "1"]
    found = inference.main([*TINY, *options, "--write", str(file)])
    rows = [(entry["mode"], entry["steps"], "ratio" in entry) for entry in found["results"]]
    assert rows == [("eager", 1, False), ("eager", 2, True), ("graphs", 1, False), ("graphs", 2, True)]
    for entry in found["results"][2:]:
        assert entry["apart_from_eager"]["latents"] < 1e-6 and entry["compiled"]["remarks"]
        assert entry["network_tflop"] == found["results"][entry["steps"] - 1]["network_tflop"]
    assert "on cpu every part runs as it is" in capsys.readouterr().out


def test_number_formats_take_turns_beside_one_official_way(tmp_path):
    if why_no_int8(torch.device("cpu")) is not None:
        pytest.skip("this CPU has no exact products of 8 bits")
    found = inference.main([*TINY, "--dtype", "fp32", "int8", "--write", str(tmp_path / "t.json")])["results"]
    assert [entry["dtype"] for entry in found] == ["fp32", "int8"]
    assert found[0]["official"] == found[1]["official"]
    assert found[0]["network_tflop"] == found[1]["network_tflop"] > 0
    assert 10 < found[1]["apart"]["waveform_db"] < found[0]["apart"]["waveform_db"]


def test_operations_of_int8_are_counted_in_floats():
    if why_no_int8(torch.device("cpu")) is not None:
        pytest.skip("this CPU has no exact products of 8 bits")
    both = [inference.main([*TINY, "--dtype", name])["results"][0] for name in ("fp32", "int8")]
    assert both[1]["network_tflop"] == pytest.approx(both[0]["network_tflop"], rel=0.05)


def test_rows_are_on_disk_as_soon_as_they_are_measured(tmp_path, monkeypatch):
    shown = []

    def stop(entry):
        if shown:
            raise KeyboardInterrupt
        shown.append(entry)

    monkeypatch.setattr(inference, "show", stop)
    with pytest.raises(KeyboardInterrupt):
        inference.main([*TINY, "--steps", "1", "2", "--write", str(tmp_path / "t.json")])
    assert [entry["steps"] for entry in json.loads((tmp_path / "t.json").read_text())["results"]] == [1]


def test_the_small_model_may_be_away(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(inference, "SMALL", tmp_path / "nothing")
    args = inference.argparse.Namespace(model="mini", dtype="fp32")
    plain, pipe = inference.build(args, torch.device("cpu"))
    assert inference.compare(plain, pipe, 1)["latents"] < 1e-3
    assert capsys.readouterr().out.startswith("random weights of the small model's shapes instead of its own: ")


@pytest.mark.slow
def test_the_script_for_gpus_tests_itself_on_a_cpu(tmp_path):
    given = os.environ | {"OUT": str(tmp_path / "out"), "PYTHON": sys.executable}
    done = subprocess.run(["bash", "benchmarks/gpu.sh", "--cpu"], cwd=ROOT, env=given, capture_output=True, text=True)
    whole = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert done.returncode == 0 and not whole["failed"], done.stderr
    assert sorted(whole["parts"]) == ["dit", "mini", "train", "unet"]
    late = given | {"SECONDS_AT_MOST": "1", "OUT": str(tmp_path / "late")}
    done = subprocess.run(["bash", "benchmarks/gpu.sh", "--cpu"], cwd=ROOT, env=late, capture_output=True, text=True)
    assert done.returncode == 1 and "ended with an error or too late: unet" in done.stderr
    wrong = subprocess.run(["bash", "benchmarks/gpu.sh", "--gpu"], cwd=ROOT, env=given, capture_output=True, text=True)
    assert wrong.returncode == 2 and "usage" in wrong.stderr
