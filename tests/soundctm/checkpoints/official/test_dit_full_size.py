"""The file of the released v2 student at its true size (1.21 G numbers), through the reader, against the goldens.

Needs about 6 GiB of memory and 5 GB of disk, and two minutes.
"""

import shutil

import pytest
import torch
from dit import filled, golden, golden_meta
from helpers import close
from official_dit import ears, manifest

from soundctm.checkpoints import load_official_dit
from soundctm.text import TextConditioning

pytestmark = pytest.mark.slow

STUDENT, TEXT = 6002, 6005  # seeds of the goldens


@pytest.fixture
def ema(tmp_path):
    """The file; the folder's content is removed at once, because pytest would keep the last three."""
    if shutil.disk_usage(tmp_path).free < 7e9:
        pytest.skip("needs 7 GB of free disk")
    state = ears(512)
    for key, shape in manifest("student_ema_v2").items():
        if key not in state:
            state[key] = filled(key, shape, STUDENT if key.startswith("dit.") else TEXT)
    path = tmp_path / "ac_v2_ema_0999_030000.pt"
    torch.save(state, path)
    del state
    yield path
    shutil.rmtree(tmp_path)


@torch.no_grad()
def test_the_released_student(ema):
    g, t = golden("full_dit"), golden("full_text")
    parts = load_official_dit(ema=ema)
    assert parts.text_encoder.form == "pooled"
    close(parts.text_encoder.encode_ids(t["input_ids"], t["attention_mask"])[:, 0], t["v2"], 1e-4)
    parts.text_encoder.form = "projected"
    close(parts.text_encoder.encode_ids(t["input_ids"], t["attention_mask"])[:, 0], t["v1"], 1e-4)

    network = parts.ema
    assert sum(value.numel() for value in network.state_dict().values()) == golden_meta("full_dit")["parameters"]
    states = []
    hooks = [b.register_forward_hook(lambda _, __, out: states.append(out)) for b in network.transformer_blocks]
    text = TextConditioning(g["text.embedding"][1:, None], torch.ones(1, 1, dtype=torch.bool))
    out = network.predict(g["x"], g["timestep"], text, g["s_timestep"], g["omega"])
    for hook in hooks:
        hook.remove()
    close(out, g["out"], 3e-5)
    for block in (0, 1, 11, 22, 23):
        close(states[block][0, ::48, ::64], g[f"hidden.{block}.every"], 3e-5)
    for found, wanted in zip(states, g["hidden.stats"].tolist(), strict=True):
        assert found.std().item() == pytest.approx(wanted[1], rel=1e-4)
        assert found.abs().max().item() == pytest.approx(wanted[2], rel=1e-4)
