"""The transformer against the official one: forward, features, embeddings; text that is bound; bands; key names."""

import re
import warnings

import dit
import pytest
import torch
from dit import CONFIG, SCHEDULE, fill, golden, student, teacher, text
from helpers import close

from soundctm.checkpoints.official.dit_keys import from_official, to_official
from soundctm.errors import UserError
from soundctm.networks import backbone
from soundctm.networks.dit import BoundText, StudentDiT, TeacherDiT, omega_features
from soundctm.schedule import network_time
from soundctm.text import TextConditioning

A, B = golden("a_teacher_dit"), golden("b_student_dit")
RTOL = 2e-5


def test_fill_rule():
    start = dit.filled("dit.preprocess_conv.weight", (64, 64, 1), 1202).flatten()[:3]
    close(start, torch.tensor([0.09531570, 0.01084555, -0.02402080]), 1e-6)


@torch.no_grad()
def test_teacher_forward():
    network = teacher().network
    close(network.predict(A["x"], A["timestep"], text(A)), A["out"], RTOL)
    for frames in (1, 7):
        close(network.predict(A["x"][..., :frames], A["timestep"], text(A)), A[f"short{frames}.out"], RTOL)


@torch.no_grad()
def test_any_number_of_text_tokens():
    network, tokens = teacher().network, A["tokens5"]
    everything = torch.ones(tokens.shape[:2], dtype=torch.bool)
    for mask, name in ((everything, "tokens5.out"), (A["tokens5.mask"], "tokens5.out_masked")):
        close(network.predict(A["x"], A["timestep"], TextConditioning(tokens, mask)), A[name], RTOL)


@torch.no_grad()
@pytest.mark.parametrize(
    ("depth", "name", "count"), [("full", "feature", 3), ("half", "feature", 2), ("chained", "hidden", 3)]
)
def test_features(depth, name, count):
    maps = teacher().network.features(A["x"], A["timestep"], text(A), depth)
    assert len(maps) == (2 if depth == "half" else 3)
    for i, found in enumerate(maps):
        close(found, A[f"{name}.{i}"], RTOL)


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match="depth is 'deep'"):
        teacher().network.features(A["x"], A["timestep"], text(A), "deep")


@torch.no_grad()
def test_student_forward():
    network, prompt = student().network, text(B)
    given = B["timestep"], prompt, B["s_timestep"], B["omega"]
    close(network.predict(B["x"], *given), B["out"], RTOL)
    close(network.predict(B["x"], B["s_timestep"], prompt, B["timestep"], B["omega"]), B["out_swapped"], RTOL)
    close(network.predict(B["x"], B["timestep"], prompt, B["timestep"], B["omega"]), B["out_s_eq_t"], RTOL)
    close(network.predict(B["x"], B["timestep"], prompt, B["s_timestep"]), B["out_zero_w"], RTOL)
    alone = network.predict(B["x"][:1], B["timestep"][:1], prompt[:1], B["s_timestep"][:1], B["omega"][:1])
    close(alone, B["batch1.out"], RTOL)
    t, s = (4 * B["timestep"]).exp(), (4 * B["s_timestep"]).exp()
    close(network.predict(B["x"], network_time(t), prompt, network_time(s), B["omega"]), B["wrapped"], RTOL)


@torch.no_grad()
def test_embeddings():
    network = student().network
    close(omega_features(B["omega"], 256), B["w_embedding"], 5e-5)  # the golden's processor rounds 5 exponentials up
    close(network.time_embedding(B["timestep"]), B["emb_t"], RTOL)
    close(network.time_embedding(B["s_timestep"]), B["emb_s"], RTOL)
    close(network.token(B["timestep"], B["s_timestep"], B["omega"]), B["token"], RTOL)
    close(network.cross_attention_proj(text(B).hidden), B["cond"], RTOL)


def test_one_token_adds_a_constant_that_is_computed_once():
    network, prompt = student().network, text(B)
    bound = network.bind(prompt)
    assert isinstance(bound, BoundText) and network.bind(bound) is bound
    close(bound.added[0].expand(-1, 4, -1), B["cross0.any_query"], RTOL)
    calls = []
    hook = network.transformer_blocks[0].attn2.to_v.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(2):
        close(network.predict(B["x"], B["timestep"], bound, B["s_timestep"], B["omega"]), B["out"], RTOL)
    hook.remove()
    assert not calls
    assert type(bound[:1]) is TextConditioning, "rows of a bound text are plain text"


def test_a_network_that_learns_from_one_token_leaves_idle_weights_alone():
    network, prompt = fill(StudentDiT.from_config(CONFIG), 1202), text(B)
    idle = {id(parameter) for parameter in network.idle_parameters(one_token=True)}
    names = [name for name, parameter in network.named_parameters() if id(parameter) in idle]
    assert len(names) == 9 and all(re.search(r"norm2|attn2\.to_[qk]", name) for name in names)
    assert not network.idle_parameters(one_token=False)
    assert network.bind(prompt) is prompt, "its weights change, so nothing is kept from call to call"
    found = {}
    for frozen in (False, True):
        for parameter in network.idle_parameters(one_token=frozen):
            parameter.requires_grad_(False)
        network.zero_grad()
        output = network.predict(B["x"], B["timestep"], prompt, B["s_timestep"], B["omega"])
        close(output.detach(), B["out"], RTOL)
        output.square().mean().backward()
        found[frozen] = {name: parameter.grad for name, parameter in network.named_parameters()}
    for name, gradient in found[True].items():
        if name in names:
            assert gradient is None and found[False][name].abs().max() < 1e-9, "rounding; officially exactly zero"
        else:
            assert gradient.abs().max() > 1e-9
            close(gradient, found[False][name], 3e-4)


@torch.no_grad()
def test_bands_lie_in_the_channels():
    flat = fill(StudentDiT.from_config(CONFIG), 1202).eval()
    banded = StudentDiT.from_config({**CONFIG, "bands": 16}).eval()
    banded.load_state_dict(flat.state_dict())
    z = B["x"].unflatten(1, (4, 16)).transpose(2, 3)  # [B, 4, T, 16]
    given = B["timestep"], text(B), B["s_timestep"], B["omega"]
    found = banded.predict(z, *given)
    assert found.shape == z.shape and torch.equal(found.transpose(2, 3).flatten(1, 2), flat.predict(B["x"], *given))
    banded.check_latents((4, 99, 16))
    for shape in ((64, 99), (4, 99, 8), (8, 99, 16)):
        with pytest.raises(UserError, match=r"latents \[4, frames, 16\] cannot take"):
            banded.check_latents(shape)
    flat.check_latents((64, 432))
    with pytest.raises(UserError, match=r"latents \[64, frames\]"):
        flat.check_latents((8, 64, 16))


@torch.no_grad()
def test_a_student_starts_with_the_weights_of_its_teacher(tmp_path):
    start = teacher().network.new_student()
    prompt = text(A)
    close(start.predict(A["x"], A["timestep"], prompt), A["out"], RTOL)  # without s and omega it is the teacher
    start.save_config(tmp_path)
    assert backbone(start.config | {"_class_name": "StudentDiT"}, "x").teacher is TeacherDiT
    with pytest.raises(UserError, match="names the network Transformer2DModel"):
        backbone({"_class_name": "Transformer2DModel"}, "config.json")


def test_keys_come_back_as_they_were():
    state = student().network.state_dict()
    official = to_official(state)
    assert len(official) == 15 * 3 + 10 + 2  # per block 15 with three zero buffers
    back = from_official(official)
    assert back.keys() == state.keys() and all(torch.equal(back[key], state[key]) for key in state)
    assert SCHEDULE.sigma_data == 0.5


@torch.no_grad()
def test_recomputed_activations_change_nothing():
    network = fill(StudentDiT.from_config(CONFIG), 1202)
    network.enable_gradient_checkpointing()
    with torch.enable_grad():
        output = network.predict(B["x"], B["timestep"], text(B), B["s_timestep"], B["omega"])
        output.square().mean().backward()
    close(output.detach(), B["out"], RTOL)


def test_a_compiled_network_is_the_same_and_its_tables_are_no_riddle_to_the_compiler():
    """Also at another length, where shapes become symbols. A warning, as of a cache, is an error here."""
    network = dit.new_student(config=dit.SMALLER).network.requires_grad_(False)
    text = TextConditioning(torch.randn(2, 1, 128), torch.ones(2, 1, dtype=torch.bool))
    t, s, omega = torch.tensor([0.3, 0.4]), torch.tensor([0.1, 0.2]), torch.tensor([3.0, 4.0])
    compiled = torch.compile(network.predict, backend="eager", fullgraph=True)
    for length in (8, 12):
        z = torch.randn(2, 64, length)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            close(compiled(z, t, text, s, omega), network.predict(z, t, text, s, omega), 1e-6)
