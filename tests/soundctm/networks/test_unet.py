"""Goldens a and b: the UNets against the official ones."""

import pytest
import torch
from helpers import UNET_CONFIG, close, golden
from nets import student, teacher, text

from soundctm.networks import StudentUNet, TeacherUNet, feature_maps, guidance_embedding

A, B = golden("a_teacher_unet"), golden("b_student_unet")


@torch.no_grad()
def test_teacher_forward():
    unet, prompt = teacher().network, text(A)
    close(unet(A["x"], A["timestep"], prompt.hidden, encoder_attention_mask=prompt.mask).sample, A["out"], 2e-5)
    close(unet(A["x"], A["timestep"], prompt.hidden).sample, A["out_nomask"], 2e-5)
    alone = text(A, A["prompt"][:1])
    scalar = unet(A["x"][:1], A["timestep"][0], alone.hidden, encoder_attention_mask=alone.mask).sample
    close(scalar, A["out_scalar_t"], 2e-5)
    odd = unet(A["odd.x"], A["timestep"][:1], alone.hidden, encoder_attention_mask=alone.mask).sample
    close(odd, A["odd.out"], 2e-5)


@pytest.mark.parametrize("depth", ["half", "full"])
def test_teacher_features(depth):
    prompt = text(A)
    x = A["x"].clone().requires_grad_()
    maps = feature_maps(teacher().network, depth, x, A["timestep"], prompt.hidden, encoder_attention_mask=prompt.mask)
    wanted = [A[key] for key in sorted(k for k in A if k.startswith(f"{depth}."))]
    assert len(maps) == len(wanted) == {"half": 4, "full": 9}[depth]
    for got, want in zip(maps, wanted, strict=True):
        close(got.detach(), want, 2e-5)
    maps[-1].sum().backward()
    assert x.grad.abs().max() > 0
    assert not any(m._forward_hooks for m in teacher().network.modules()), "hooks stay behind"


@torch.no_grad()
@pytest.mark.parametrize("name, s, omega", [("out", 1, 1), ("out_no_s", 0, 1), ("out_no_w", 1, 0), ("out_plain", 0, 0)])
def test_student_forward(name, s, omega):
    prompt = text(B)
    extra = {"s": B["s_timestep"] if s else None, "omega": B["omega"] if omega else None}
    out = (
        student()
        .network(B["x"], B["timestep"], prompt.hidden, encoder_attention_mask=prompt.mask, added_cond_kwargs=extra)
        .sample
    )
    close(out, B[name], 2e-5)


@torch.no_grad()
def test_student_embeddings():
    unet = student().network
    close(guidance_embedding(B["omega"], B["w_embedding"].shape[1]), B["w_embedding"], 2e-5)
    close(unet.time_proj(B["timestep"]), B["time_proj"], 2e-5)
    close(unet.time_embedding(unet.time_proj(B["timestep"])), B["emb_t"], 2e-5)
    close(unet.s_time_embedding(unet.s_time_proj(B["s_timestep"])), B["emb_s"], 2e-5)


@torch.no_grad()
def test_student_starts_as_the_teacher():
    g, prompt = A, text(A)
    unet = StudentUNet.from_config(UNET_CONFIG).start_as(teacher().network)
    extra = {"s": torch.tensor([-1.0, 0.3]), "omega": None}
    out = unet(g["x"], g["timestep"], prompt.hidden, encoder_attention_mask=prompt.mask, added_cond_kwargs=extra).sample
    close(out, g["out"], 2e-5)
    other = TeacherUNet.from_config({**UNET_CONFIG, "out_channels": 4})
    with pytest.raises(RuntimeError):
        unet.start_as(other)


def test_configuration_round_trip(tmp_path):
    student().network.save_pretrained(tmp_path)
    again = StudentUNet.from_pretrained(tmp_path)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.state_dict().values(), student().network.state_dict().values(), strict=True)
    )
    assert again.config.attention_head_dim == UNET_CONFIG["attention_head_dim"]
