"""CLAP's text branch: both forms against the goldens, captions, its folder, and files that are not whole."""

import json

import pytest
import torch
from dit import filled, golden, golden_meta
from helpers import close
from safetensors.torch import load_file
from transformers import ClapAudioConfig, ClapConfig, ClapModel, ClapTextConfig, ClapTextModelWithProjection

from soundctm.checkpoints import Components, load_checkpoint, save_checkpoint
from soundctm.errors import UserError
from soundctm.text import TextEncoder
from soundctm.text.caption_store import CaptionStore
from soundctm.text.clap import REST, ClapTextEncoder

J = golden("j_text")
WORDS = {word: 3 + number for number, word in enumerate("a dog barking in the rain glass breaking".split())}


class Words:
    """A tokenizer in memory."""

    model_max_length = 512

    def __call__(self, texts, max_length, **_):
        rows = [[0, *(WORDS.get(word, 110) for word in text.split()), 2] for text in texts]
        return {"input_ids": [row if len(row) <= max_length else [*row[: max_length - 1], 2] for row in rows]}

    def save_pretrained(self, folder):
        (folder / "tokenizer_words.json").write_text("{}")


def model(name="j_text", seed=1505) -> ClapTextModelWithProjection:
    """The text branch of a golden."""
    meta = golden_meta(name)
    longest = {"max_position_embeddings": meta["max_position_embeddings"], "projection_dim": meta["projection"]}
    made = ClapTextModelWithProjection(ClapTextConfig(**meta["config"], **longest, layer_norm_eps=1e-5))
    for key, value in made.named_parameters():
        official = key.replace("text_model.", "text_branch.").replace("linear1", "0").replace("linear2", "2")
        value.data.copy_(filled(f"text_encoder.model.{official}", value.shape, seed))
    return made


def encoder(form="pooled", **options) -> ClapTextEncoder:
    return ClapTextEncoder(model(), Words(), "golden j", form, **options)


@pytest.mark.parametrize(("form", "name"), [("pooled", "v2"), ("projected", "v1")])
def test_golden_j(form, name):
    own = encoder(form)
    close(own.encode_ids(J["input_ids"], J["attention_mask"])[:, 0], J[name], 2e-5)
    assert own.dim == J[name].shape[1] and own.max_length == 77
    for row, ids, mask in zip(J[name], J["input_ids"], J["attention_mask"].bool(), strict=True):  # padding adds nothing
        found = own.encode_ids(ids[mask][None], torch.ones(1, int(mask.sum()), dtype=torch.long))
        close(found[0, 0], row, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "name"), [("pooled", "v2"), ("projected", "v1")])
def test_golden_of_official_size(form, name):
    g = golden("full_text")
    own = ClapTextEncoder(model("full_text", 6005), Words(), "full", form)
    close(own.encode_ids(g["input_ids"], g["attention_mask"])[:, 0], g[name], 1e-4)


def test_a_caption_is_one_token_and_the_same_in_any_batch():
    own = encoder()
    captions = ["a dog", "", "glass breaking in the rain", "dog " * 200]
    together = own.encode(captions)
    assert together.hidden.shape == (4, 1, 48) and together.mask.all()
    close(together.hidden.norm(dim=-1), torch.ones(4, 1), 1e-6)
    for caption, row in zip(captions, together.hidden, strict=True):
        close(encoder().encode([caption]).hidden[0], row, 1e-5)
    close(own.encode(["dog " * 75]).hidden, together.hidden[3:], 1e-5)  # cut at 77 tokens


def test_vectors_on_disk_know_their_form(tmp_path):
    pooled, projected = encoder(), encoder("projected")
    assert pooled.identity() != projected.identity()
    for own in (pooled, projected):
        store = CaptionStore(own, tmp_path, own.identity())
        store.prepare(["a dog"])
        assert torch.equal(store.encode(["a dog", ""]).hidden, own.encode(["a dog", ""]).hidden)


@pytest.mark.parametrize("form", ["pooled", "projected"])
def test_a_checkpoint_holds_it_whole(tmp_path, form, monkeypatch):
    monkeypatch.setattr("soundctm.text.encoder.load_tokenizer", lambda name: Words())
    own = encoder(form, rest={"logit_scale_a": torch.ones(1)})
    folder = save_checkpoint(tmp_path / "model", Components(text_encoder=own))
    read = load_checkpoint(folder, ()).text_encoder
    assert isinstance(read, ClapTextEncoder) and read.form == form and read.dim == own.dim
    assert read.name == "golden j" and read.stored
    assert torch.equal(read.encode(["a dog"]).hidden, own.encode(["a dog"]).hidden)
    assert read.rest.keys() == {"logit_scale_a"} and (folder / "text_encoder" / REST).is_file()
    again = save_checkpoint(tmp_path / "again", Components(text_encoder=read))
    assert load_file(again / "text_encoder" / REST).keys() == {"logit_scale_a"}
    alone = TextEncoder.from_pretrained(folder / "text_encoder")
    assert torch.equal(alone.encode(["a dog"]).hidden, own.encode(["a dog"]).hidden)


def test_a_damaged_folder_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("soundctm.text.encoder.load_tokenizer", lambda name: Words())
    folder = save_checkpoint(tmp_path / "model", Components(text_encoder=encoder()))
    config = folder / "text_encoder" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"conditioning": "tokens"}))
    with pytest.raises(UserError, match="`conditioning` in its config.json is 'tokens'; it is pooled or projected"):
        load_checkpoint(folder, ())
    config.write_text(json.dumps(values | {"projection_dim": 16}))
    with pytest.raises(UserError, match=r"text_projection.linear1.weight is \[32, 48\], not \[16, 48\]"):
        load_checkpoint(folder, ())


def test_the_text_branch_of_a_whole_clap(tmp_path, monkeypatch):
    """Hugging Face's own folders of CLAP hold both branches."""
    monkeypatch.setattr("soundctm.text.encoder.load_tokenizer", lambda name: Words())
    ears = ClapAudioConfig(
        hidden_size=16, patch_embeds_hidden_size=8, depths=[1, 1], num_attention_heads=[1, 1], projection_dim=32,
        spec_size=64, num_mel_bins=64,
    )  # fmt: skip
    own = model()
    whole = ClapModel(ClapConfig(text_config=own.config, audio_config=ears, projection_dim=32))
    whole.text_model.load_state_dict(own.text_model.state_dict())
    whole.text_projection.load_state_dict(own.text_projection.state_dict())
    whole.save_pretrained(tmp_path / "clap")
    read = TextEncoder.from_pretrained(tmp_path / "clap")
    assert isinstance(read, ClapTextEncoder) and read.form == "pooled"
    assert torch.equal(read.encode(["a dog"]).hidden, encoder().encode(["a dog"]).hidden)
