"""The official layout at small size: outputs against the goldens, and what does not fit is named."""

import json
import logging

import pytest
import torch
from helpers import UNET_CONFIG, close, golden
from official_files import TEXT_CONFIG, small_ema, small_student, small_teacher, write_small

from soundctm.audioldm.codec import AudioLDMCodec
from soundctm.audioldm.vae import build_vae
from soundctm.audioldm.vocoder import build_hifigan
from soundctm.checkpoints import load_official
from soundctm.errors import UserError

SMALL = {"unet_config": UNET_CONFIG, "text_config": TEXT_CONFIG}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return load_official(**write_small(tmp_path_factory.mktemp("official")), **SMALL)


def save(path, state):
    torch.save(state, path)
    return path


def test_teacher_gives_golden_a(parts):
    g = golden("a_teacher_unet")
    p = g["prompt"]
    with torch.no_grad():
        mask = g["text.mask"][p]
        out = parts.teacher(g["x"], g["timestep"], g["text.hidden"][p], encoder_attention_mask=mask).sample
    close(out, g["out"], rtol=2e-5)


def test_student_gives_golden_b(parts):
    g = golden("b_student_unet")
    p = g["prompt"]
    with torch.no_grad():
        out = parts.student(
            g["x"], g["timestep"], g["text.hidden"][p], encoder_attention_mask=g["text.mask"][p],
            added_cond_kwargs={"s": g["s_timestep"], "omega": g["omega"]},
        ).sample  # fmt: skip
    close(out, g["out"], rtol=2e-5)


def test_text_encoder_gives_golden_k_and_is_tied(parts):
    g = golden("k_text_encoder")
    close(parts.text_encoder.encode_ids(g["input_ids"], g["attention_mask"]), g["hidden"], rtol=2e-5)
    model = parts.text_encoder.model
    assert model.encoder.embed_tokens.weight is model.shared.weight
    assert parts.text_encoder.name == "google/flan-t5-large"


def test_ema_is_not_the_student(parts):
    ema = small_ema()
    assert all(torch.equal(value, ema[key]) for key, value in parts.ema.state_dict().items())
    assert not torch.equal(parts.ema.conv_in.weight, parts.student.conv_in.weight)


def test_summary_gives_schedule_and_training_configuration(tmp_path):
    path = tmp_path / "summary.jsonl"
    path.write_text(json.dumps({"sigma_data": 0.5, "sigma_max": 40, "lr": 8e-5}) + "\n{}\n")
    parts = load_official(summary=path)
    assert (parts.schedule.sigma_data, parts.schedule.sigma_max, parts.schedule.sigma_min) == (0.5, 40.0, 0.002)
    assert parts.training_config["lr"] == 8e-5
    assert parts.text_encoder is None


@pytest.mark.parametrize("content", ["not json\n", "[1]\n", "", '{"sigma_data": "wide"}\n'])
def test_a_summary_that_is_none(tmp_path, content):
    (tmp_path / "summary.jsonl").write_text(content)
    with pytest.raises(UserError, match="summary"):
        load_official(summary=tmp_path / "summary.jsonl")
    with pytest.raises(UserError, match="no training summary at"):
        load_official(summary=tmp_path / "nothing.jsonl")


@pytest.mark.parametrize("name", ["shared.weight", "encoder.embed_tokens.weight"])
def test_either_name_of_the_embedding_is_enough(tmp_path, parts, name):
    state = small_teacher()
    del state[f"text_encoder.{name}"]
    read = load_official(teacher=save(tmp_path / "teacher.bin", state), **SMALL)
    assert torch.equal(read.text_encoder.model.encoder.embed_tokens.weight, parts.text_encoder.model.shared.weight)


def test_two_different_embeddings_are_refused(tmp_path):
    state = small_teacher()
    state["text_encoder.shared.weight"] = state["text_encoder.shared.weight"] + 1
    with pytest.raises(UserError, match="shared.weight and encoder.embed_tokens.weight differ"):
        load_official(teacher=save(tmp_path / "teacher.bin", state), **SMALL)


def test_parallel_prefix_is_stripped(tmp_path, parts):
    state = {f"module.{key}": value for key, value in small_student().items()}
    read = load_official(student=save(tmp_path / "model.bin", state), **SMALL)
    assert torch.equal(read.student.conv_out.weight, parts.student.conv_out.weight)


def test_the_second_copy_of_the_text_encoder_is_ignored_with_its_reason(tmp_path, caplog):
    paths = write_small(tmp_path)
    keys = sum(key.startswith("text_encoder.") for key in small_student())
    with caplog.at_level(logging.INFO, logger="soundctm"):
        load_official(teacher=paths["teacher"], student=paths["student"], **SMALL)
    assert f"ignored {keys} keys text_encoder.*: the same frozen text encoder was read" in caplog.text


def test_half_precision_files_become_float32_unless_asked(tmp_path):
    state = {key: value.half() for key, value in small_ema().items()}
    path = save(tmp_path / "ema.pt", state)
    assert load_official(ema=path, **SMALL).ema.conv_in.weight.dtype == torch.float32
    assert load_official(ema=path, dtype=torch.bfloat16, **SMALL).ema.conv_in.weight.dtype == torch.bfloat16


def test_float32_weights_are_mapped_not_copied(tmp_path):
    path = save(tmp_path / "ema.pt", small_ema())
    ema = load_official(ema=path, **SMALL).ema
    with open("/proc/self/maps") as maps:
        assert str(path) in maps.read()
    ema.conv_in.weight.data.zero_()  # a private mapping: training writes to memory, never to the file
    assert load_official(ema=path, **SMALL).ema.conv_in.weight.abs().sum() > 0


FAULTS = {
    "missing": (lambda state, keys: [state.pop(key) for key in keys[5:10]], r"5 keys missing \(.* and 2 more\)"),
    "extra": (lambda state, keys: state.update(alpha=torch.ones(1)), r"1 key not expected \(alpha\)"),
    "misshapen": (lambda state, keys: state.update({keys[0]: torch.ones(3, 2)}), r"conv_in.weight is \[3, 2\], not \["),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_keys_that_do_not_fit_are_named(tmp_path, fault):
    state = small_ema()
    change, says = FAULTS[fault]
    change(state, list(state))
    with pytest.raises(UserError, match=rf"ema.pt does not fit this model: .*{says}"):
        load_official(ema=save(tmp_path / "ema.pt", state), **SMALL)


@pytest.mark.parametrize("role", ["teacher", "student", "ema"])
def test_weights_that_are_not_finite_are_refused(tmp_path, role):
    state = {"teacher": small_teacher, "student": small_student, "ema": small_ema}[role]()
    (key,) = [key for key in state if key.endswith("conv_out.bias")]
    state[key][0] = float("nan")
    with pytest.raises(UserError, match=r"model.bin has weights that are NaN or infinite \(conv_out.bias\)"):
        load_official(**{role: save(tmp_path / "model.bin", state)}, **SMALL)


def test_a_codec_that_is_not_finite_is_refused(tmp_path, monkeypatch):
    codec = AudioLDMCodec(build_vae((16, 16, 16), 1, norm_num_groups=8), build_hifigan(channels=32), None, 0.2)
    codec.vocoder.conv_post.bias[0] = float("inf")
    monkeypatch.setattr("soundctm.checkpoints.official.unet.load_audioldm_checkpoint", lambda path: codec)
    with pytest.raises(UserError, match=r"a.ckpt has weights that are NaN or infinite \(vocoder.conv_post.bias\)"):
        load_official(audioldm=tmp_path / "a.ckpt")


@pytest.mark.parametrize("role", ["teacher", "student"])
@pytest.mark.parametrize("key", ["logit_scale", "text_encoder.encoder.block.0.alpha"])
def test_an_extra_key_outside_the_network_is_named(tmp_path, role, key):
    state = {"teacher": small_teacher, "student": small_student}[role]()
    state[key] = torch.ones(1)
    with pytest.raises(UserError, match=rf"not expected \({key.removeprefix('text_encoder.')}\)"):
        load_official(**{role: save(tmp_path / "model.bin", state)}, **SMALL)


def test_extra_text_keys_are_named_even_in_the_copy_that_is_ignored(tmp_path):
    paths = write_small(tmp_path)
    state = small_student() | {"text_encoder.extra": torch.ones(1)}
    with pytest.raises(UserError, match="pytorch_model.bin does not fit.*extra"):
        load_official(teacher=paths["teacher"], student=save(paths["student"], state), **SMALL)


def test_files_in_each_others_place(tmp_path):
    paths = write_small(tmp_path)
    with pytest.raises(UserError, match="is no student file: it has no keys that begin with 'ctm_unet.'"):
        load_official(student=paths["teacher"], **SMALL)
    with pytest.raises(UserError, match="is no teacher file"):
        load_official(teacher=paths["ema"], **SMALL)
    with pytest.raises(UserError, match="not expected"):
        load_official(ema=paths["student"], **SMALL)


def test_a_caption_without_a_tokenizer_says_what_to_fetch(parts):
    with pytest.raises(UserError, match="hf download google/flan-t5-large"):
        parts.text_encoder.encode(["a dog"])


def test_a_unet_configuration_as_diffusers_writes_it(tmp_path, parts):
    """The release's own JSON names diffusers' class, its version and a sample size."""
    path = tmp_path / "diffusion_model_config.json"
    extra = {"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.10.0.dev0", "sample_size": [32, 2]}
    path.write_text(json.dumps({**UNET_CONFIG, **extra}))
    read = load_official(ema=save(tmp_path / "ema.pt", small_ema()), unet_config=path)
    assert torch.equal(read.ema.conv_in.weight, parts.ema.conv_in.weight)
    with pytest.raises(UserError, match="there is no file"):
        load_official(ema=tmp_path / "ema.pt", unet_config=tmp_path / "nothing.json")
