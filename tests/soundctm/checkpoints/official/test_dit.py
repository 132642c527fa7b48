"""The files of SoundCTM-DiT: outputs against the goldens, both versions, there and back, and what does not fit."""

import json
import logging

import pytest
import torch
from dit import CONFIG, golden, text
from helpers import close
from official_dit import (
    SUMMARY,
    manifest,
    on_meta,
    small_clap,
    small_network,
    statistics,
    write_small,
)

from soundctm.checkpoints import load_checkpoint, load_official, load_official_dit, save_checkpoint
from soundctm.checkpoints.official import clap, dit
from soundctm.checkpoints.official.dit_export import network_state, save_official_dit
from soundctm.checkpoints.torch_files import read_state_dict
from soundctm.errors import UserError
from soundctm.networks.dit import StudentDiT, TeacherDiT
from soundctm.text.clap import ClapTextEncoder

A, B = golden("a_teacher_dit"), golden("b_student_dit")
ALL = ("ema", "student", "teacher")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_small(tmp_path_factory.mktemp("official"), roles=ALL)


@pytest.fixture(scope="module")
def parts(paths):
    return load_official_dit(**paths)


def save(folder, state, name="ac_ema.pt"):
    torch.save(state, folder / name)
    return folder / name


@torch.no_grad()
def test_networks_give_the_goldens(parts):
    close(parts.teacher.predict(A["x"], A["timestep"], text(A)), A["out"], 2e-5)
    given = B["timestep"], text(B), B["s_timestep"], B["omega"]
    close(parts.student.predict(B["x"], *given), B["out"], 2e-5)
    assert isinstance(parts.teacher, TeacherDiT) and isinstance(parts.ema, StudentDiT)
    ema = small_network("ema")
    assert torch.equal(parts.ema.proj_out.weight, ema["dit.transformer.project_out.weight"])


def test_the_model_says_how_it_is_sampled(parts):
    assert parts.schedule.sigma_data == 0.5 and parts.training_config == SUMMARY
    sampling = parts.sampling
    assert (sampling.omega, sampling.steps, sampling.sampler) == (5.0, 1, "deterministic")
    assert sampling.omega_range == (1.0, 10.0)
    assert (sampling.seconds, sampling.sampling_rate) == (10.031, 44_100)
    assert torch.equal(parts.codec.z_mean, statistics()["z_mean"])
    assert load_official_dit().schedule.sigma_data == 0.5  # also where no summary says it


@pytest.mark.parametrize(("version", "form"), [("v2", "pooled"), ("v1", "projected")])
def test_the_text_branch_is_in_the_file(tmp_path, version, form):
    read = load_official_dit(ema=write_small(tmp_path, version)["ema"])
    encoder, state = read.text_encoder, small_clap(version)
    assert isinstance(encoder, ClapTextEncoder) and encoder.form == form and encoder.dim == 128
    assert encoder.name == "roberta-base" and encoder.rest.keys() == clap.rest_shapes().keys()
    pooler = f"{clap.PREFIX}text_branch.pooler.dense.weight"
    assert torch.equal(encoder.model.text_model.pooler.dense.weight, state[pooler])
    ids = torch.tensor([[0, 5, 9, 2]])
    vector = encoder.encode_ids(ids, torch.ones_like(ids))
    assert vector.shape == (1, 1, 128)
    with pytest.raises(UserError, match="hf download roberta-base"):
        encoder.encode(["a dog"])


def test_all_files_carry_one_clap(paths, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="soundctm"):
        load_official_dit(ema=paths["ema"], teacher=paths["teacher"])
    assert "its CLAP is the one of the file before it" in caplog.text
    assert "214 keys of CLAP beside its text branch make no sound" in caplog.text
    assert "to_global_embed.0.weight, to_global_embed.2.weight are not read: the official forward pass" in caplog.text
    other = small_clap()
    other[f"{clap.PREFIX}text_branch.pooler.dense.bias"] = torch.ones(128)
    path = save(tmp_path, {**small_network("student"), **other})
    with pytest.raises(UserError, match="carries another CLAP than the file before it"):
        load_official_dit(ema=paths["ema"], student=path)


def test_files_as_others_write_them(tmp_path, parts):
    """Under DeepSpeed's "module", wrapped, with older versions' counter, without CLAP's ears, in half precision."""
    state = {**small_network("ema"), **small_clap()}
    state[f"{clap.PREFIX}{clap.POSITIONS}"] = torch.arange(80)[None]
    without_ears = {k: v for k, v in state.items() if k.removeprefix(clap.PREFIX) not in clap.rest_shapes()}
    for number, content in enumerate(
        (
            {"module": state, "global_steps": 3},
            {f"module.{key}": value for key, value in state.items()},
            without_ears,
            {key: value.half() if value.is_floating_point() else value for key, value in without_ears.items()},
        )
    ):
        path = save(tmp_path, content, f"{number}.pt")
        assert dit.holds_transformer(path)
        read = load_official_dit(ema=path)
        own = parts.ema.proj_in.weight
        assert torch.equal(read.ema.proj_in.weight, own.half().float() if number == 3 else own)
        assert read.ema.proj_in.weight.dtype == torch.float32
        assert (read.text_encoder.rest is None) == (number > 1)
    assert load_official_dit(ema=path, dtype=torch.bfloat16).ema.dtype == torch.bfloat16


def test_weights_are_mapped_not_copied(paths):
    read = load_official_dit(ema=paths["ema"])
    with open("/proc/self/maps") as maps:
        assert str(paths["ema"]) in maps.read()
    base = read.ema.transformer_blocks[0].attn1
    assert base.to_k.weight.data_ptr() - base.to_q.weight.data_ptr() == 4 * base.to_q.weight.numel(), "parts of one"


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("role", ["ema", "teacher"])
def test_every_key_and_shape_of_the_manifests(version, role):
    """At official size without values: described, checked, named and written back."""
    name = f"{'student_ema' if role == 'ema' else 'teacher'}_{version}"
    state = {k.removeprefix("dit."): v for k, v in on_meta(name).items() if k.startswith("dit.")}
    config = dit.described_by(state, name)
    assert config["num_layers"] == 24 and config["num_attention_heads"] == 24
    assert config["num_key_value_attention_heads"] == (8 if version == "v1" else 12)
    with torch.device("meta"):
        network = (TeacherDiT if role == "teacher" else StudentDiT).from_config(config)
        back = {key: tuple(value.shape) for key, value in network_meta_state(network).items()}
    text_shapes = {f"{clap.PREFIX}{key}": shape for key, shape in clap_shapes().items()}
    assert {**back, **text_shapes} == manifest(name)


def network_meta_state(network):
    return {
        **{f"dit.{key}": value for key, value in dit.to_official(network.state_dict()).items()},
        **(
            {f"dit.to_global_embed.{n}.weight": torch.empty(1536, 1536) for n in (0, 2)}
            if isinstance(network, TeacherDiT)
            else {}
        ),
    }


def clap_shapes():
    from transformers import ClapTextConfig, ClapTextModelWithProjection

    with torch.device("meta"):
        state = clap.to_official(ClapTextModelWithProjection(ClapTextConfig()).state_dict())
    return {key: tuple(value.shape) for key, value in state.items()} | clap.rest_shapes()


FAULTS = {
    "missing": (lambda s: s.pop("dit.transformer.layers.1.ff.ff.2.bias"), r"1 key missing \(dit.transformer.layers.1"),
    "buffer": (lambda s: s.pop("dit.transformer.layers.0.pre_norm.beta"), r"missing \(dit.transformer.layers.0.pre_n"),
    "extra": (lambda s: s.update({"dit.alpha": torch.ones(1)}), r"1 key not expected \(dit.alpha\)"),
    "outside": (
        lambda s: s.update({"vae.alpha": torch.ones(1)}),
        "no file of SoundCTM-DiT: .* has vae.alpha",
    ),
    "misshapen": (
        lambda s: s.update({"dit.transformer.layers.2.self_attn.to_qkv.weight": torch.ones(767, 256)}),
        r"self_attn.to_qkv.weight is \[767, 256\], not \[768, 256\]",
    ),
    "undescribed": (
        lambda s: s.pop("dit.transformer.project_in.weight"),
        "dit.transformer.project_in.weight is missing",
    ),
    "width": (
        lambda s: s.update({"dit.to_cond_embed.0.weight": torch.ones(100, 100)}),
        "widths 256 and 100 are no multiples of 64",
    ),
    "teacher's": (
        lambda s: s.update({"dit.to_global_embed.0.weight": torch.ones(256, 256)}),
        r"not expected \(dit.to_global_embed.0.weight\)",
    ),
    "beta": (
        lambda s: s.update({"dit.transformer.layers.0.pre_norm.beta": torch.ones(256)}),
        "dit.transformer.layers.0.pre_norm.beta must be zeros",
    ),
    "rotary": (
        lambda s: s["dit.transformer.rotary_pos_emb.inv_freq"].mul_(2),
        r"inv_freq must be 10000\^\(-2 i / n\)",
    ),
    "nan": (lambda s: s["dit.preprocess_conv.weight"].fill_(torch.nan), "NaN or infinite"),
    "no text": (lambda s: [s.pop(k) for k in list(s) if k.startswith("text_")], "holds no CLAP"),
    "text width": (
        lambda s: s.update({"text_encoder.model.text_branch.embeddings.word_embeddings.weight": torch.ones(120, 48)}),
        "the width 48 of its text branch is no multiple of 64",
    ),
    "text shape": (
        lambda s: s.update({"text_encoder.model.text_projection.0.bias": torch.ones(())}),
        r"text_encoder.model.text_projection.0.bias is of shape \[\]",
    ),
    "text": (
        lambda s: s.pop("text_encoder.model.text_branch.pooler.dense.bias"),
        r"1 key missing \(text_encoder.model.text_branch.pooler.dense.bias\)",
    ),
    "ears": (
        lambda s: s.pop("text_encoder.model.audio_branch.norm.bias"),
        r"1 key missing \(text_encoder.model.audio_branch.norm.bias\)",
    ),
    "more ears": (
        lambda s: s.update({"text_encoder.model.audio_branch.extra": torch.ones(1)}),
        r"1 key not expected \(text_encoder.model.audio_branch.extra\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_one_line(tmp_path, fault):
    change, says = FAULTS[fault]
    state = {**small_network("ema"), **small_clap()}
    change(state)
    with pytest.raises(UserError, match=says) as caught:
        load_official_dit(ema=save(tmp_path, state))
    assert "ac_ema.pt" in str(caught.value) and "\n" not in str(caught.value)


def test_files_in_each_others_place(paths, tmp_path):
    with pytest.raises(UserError, match="belong together"):
        load_official_dit(autoencoder=paths["autoencoder"])
    with pytest.raises(UserError, match="is no flat state dict|no file of SoundCTM-DiT"):
        load_official_dit(ema=paths["autoencoder"])
    with pytest.raises(UserError, match="has no entry 'state_dict'"):
        load_official_dit(autoencoder=paths["ema"], z_stats=paths["z_stats"])
    with pytest.raises(UserError, match="the transformer's text has 128 channels, but CLAP gives"):
        other = {**small_network("ema"), **small_clap("v1")}
        other |= {k: v[:32] for k, v in other.items() if "text_projection" in k}
        other["text_encoder.model.text_projection.2.weight"] = torch.ones(32, 32)
        kept = {k: v for k, v in other.items() if k.removeprefix(clap.PREFIX) not in clap.rest_shapes()}
        load_official_dit(ema=save(tmp_path, kept))
    with pytest.raises(UserError, match="holds SoundCTM-DiT, not the UNet"):
        load_official(ema=paths["ema"])
    assert not dit.holds_transformer(save(tmp_path, {"conv_in.weight": torch.ones(1)}, "unet.pt"))


@torch.no_grad()
def test_through_our_folder_and_back(paths, parts, tmp_path):
    folder = save_checkpoint(tmp_path / "folder", parts)
    (folder / "text_encoder" / "vocab.json").write_text("{}")
    index = json.loads((folder / "model_index.json").read_text())
    assert index["sampling"]["omega"] == 5.0 and index["text_encoder"] == "roberta-base"
    (folder / "text_encoder" / "vocab.json").unlink()
    read = load_checkpoint(folder, ALL)
    assert read.sampling == parts.sampling and read.schedule == parts.schedule
    given = B["timestep"], text(B), B["s_timestep"], B["omega"]
    close(read.student.predict(B["x"], *given), B["out"], 2e-5)
    back = save_official_dit(tmp_path / "back", read)
    for role in ALL:
        before, after = read_state_dict(paths[role]), read_state_dict(back[role])
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert "to_global_embed" in key or torch.equal(value, after[key]), key
    again = load_official_dit(**back)
    assert torch.equal(again.ema.proj_out.weight, parts.ema.proj_out.weight)
    assert again.sampling.omega_range == (1.0, 10.0)
    z = torch.randn(1, 64, 3, generator=torch.Generator().manual_seed(0))
    close(again.codec.decode(z), parts.codec.decode(z), 1e-5)
    with pytest.raises(UserError, match="already exists"):
        save_official_dit(tmp_path / "back", read)


def test_what_the_official_layout_cannot_hold_is_said(parts, tmp_path):
    from dataclasses import replace

    banded = StudentDiT.from_config({**CONFIG, "bands": 16})
    with pytest.raises(UserError, match="ema is another"):
        save_official_dit(tmp_path / "x", replace(parts, ema=banded))
    with pytest.raises(UserError, match="this checkpoint's text encoder is none"):
        save_official_dit(tmp_path / "x", replace(parts, text_encoder=None))
    deaf = ClapTextEncoder(parts.text_encoder.model, "x", "x", "pooled")
    with pytest.raises(UserError, match="has its text branch alone"):
        save_official_dit(tmp_path / "x", replace(parts, text_encoder=deaf))
    other = ClapTextEncoder(parts.text_encoder.model, "x", "x", "projected", rest={})
    with pytest.raises(UserError, match="takes text of 128 channels, not 32"):
        save_official_dit(tmp_path / "x", replace(parts, text_encoder=other))
    assert not (tmp_path / "x").exists()
    assert network_state(parts.ema).keys() == {k for k in small_network("ema")}
