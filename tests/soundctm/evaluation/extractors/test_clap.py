"""CLAP from a folder in transformers' layout, with a tiny random model and a tokenizer of a few words."""

from __future__ import annotations

import json
import shutil

import huggingface_hub
import pytest
import torch
from extractor_files import assert_behaves, signal
from helpers import close
from packing import repack
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import ClapAudioConfig, ClapConfig, ClapFeatureExtractor, ClapModel, ClapTextConfig
from transformers import PreTrainedTokenizerFast as FastTokenizer

from soundctm.errors import UserError
from soundctm.evaluation.extractors import clap
from soundctm.evaluation.extractors.registry import load_extractor

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "a", "dog", "barks", "rain"]
RATE = 48_000


def write(folder, fusion: bool):
    """A model of a few thousand weights as `save_pretrained` leaves it."""
    torch.manual_seed(0)
    text = ClapTextConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=90, projection_dim=6,
    )  # fmt: skip
    audio = ClapAudioConfig(
        patch_embeds_hidden_size=4, hidden_size=8, depths=[1, 1], num_attention_heads=[1, 2], num_hidden_layers=2,
        enable_fusion=fusion, projection_dim=6, aff_block_r=2,
    )  # fmt: skip
    config = ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=6)
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc").save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    FastTokenizer(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def folder(request, tmp_path_factory):
    return write(tmp_path_factory.mktemp("clap"), request.param)


@pytest.fixture(scope="module")
def extractor(folder):
    return load_extractor("clap", str(folder))


def test_behaves(extractor):
    assert_behaves(extractor, None)


def test_short_clips_are_read_as_transformers_reads_them(extractor, folder):
    sound = signal(1.3, RATE)
    front_end, model = ClapFeatureExtractor.from_pretrained(folder), ClapModel.from_pretrained(folder).eval()
    inputs = front_end(sound.numpy(), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():  # the front end calls a lone clip long; it is short
        expected = model.get_audio_features(inputs["input_features"], torch.tensor([[False]])).pooler_output
    embeddings = extractor([sound])[0].embeddings
    close(embeddings, expected, 2e-5)
    close(embeddings.norm(dim=-1), torch.ones(1), 1e-5)


def test_long_clips_give_the_same_every_time(extractor):
    sound = signal(21.0, RATE)
    first, again = (extractor([sound])[0].embeddings for _ in range(2))
    assert torch.equal(first, again)
    window = 10 * RATE
    starts = (0, (len(sound) - window) // 2, len(sound) - window)
    parts = torch.cat([features.embeddings for features in extractor([sound[s : s + window] for s in starts])])
    close(first, torch.nn.functional.normalize(parts.mean(0, keepdim=True), dim=-1), 2e-5)
    close(extractor([sound[: window + 11_520]])[0].embeddings, parts[:1], 2e-5)  # 10.24 s: its first 10 s


def test_captions(extractor):
    texts = ["a dog barks", "rain", "a dog barks " * 60]
    together = extractor.embed_texts(texts)
    assert together.shape == (3, extractor.dim) and together.dtype == torch.float32
    close(together.norm(dim=-1), torch.ones(3), 1e-5)
    for row, text in zip(together, texts, strict=True):
        close(row, extractor.embed_texts([text])[0], 2e-5)
    assert not torch.allclose(together[0], together[1])
    close(extractor.embed_texts([" ".join((texts[2].split())[:77])])[0], together[2], 2e-5)
    assert extractor.embed_texts([]).shape == (0, extractor.dim)


def test_weights_that_do_not_fit_are_named(tmp_path):
    folder = write(tmp_path, False)
    file = folder / "model.safetensors"
    state = load_file(file)
    changed = {**state, "extra": torch.ones(1)}
    del changed["logit_scale_a"]
    save_file(changed, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 key missing \(logit_scale_a\); 1 key not expected \(extra\)"):
        load_extractor("clap", str(folder))
    changed = {**state, "text_projection.linear1.bias": torch.ones(3)}
    save_file(changed, file, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"do not fit .* 1 key of another shape \(text_projection.linear1.bias\)"):
        load_extractor("clap", str(folder))
    file.write_bytes(b"text")
    with pytest.raises(UserError, match="holds no CLAP model that transformers can read"):
        load_extractor("clap", str(folder))
    file.unlink()
    with pytest.raises(UserError, match="holds no weights of clap"):
        load_extractor("clap", str(folder))


def test_files_without_counters_are_read(tmp_path, extractor, folder):
    """Newer files leave them out, older ones hold them."""
    shutil.copytree(folder, tmp_path / "new")
    file = tmp_path / "new" / "model.safetensors"
    state = load_file(file)
    kept = {key: value for key, value in state.items() if not key.endswith(clap.DERIVED)}
    assert len(state) - len(kept) == 4
    save_file(kept, file, metadata={"format": "pt"})
    without = load_extractor("clap", str(tmp_path / "new"))
    close(without.embed_texts(["a dog"]), extractor.embed_texts(["a dog"]), 1e-5)
    sound = signal(0.5, RATE)
    close(without([sound])[0].embeddings, extractor([sound])[0].embeddings, 1e-5)
    assert without.weights_hash != extractor.weights_hash


def test_a_torch_file_that_was_packed_again_gives_the_same_embeddings(tmp_path, extractor, folder):
    """transformers would map it, and take what is packed for weights."""
    other = shutil.copytree(folder, tmp_path / "packed")
    (weights,) = other.glob("*.safetensors")
    torch.save(load_file(weights), tmp_path / "plain.bin")
    weights.unlink()
    repack(tmp_path / "plain.bin", other / "pytorch_model.bin")
    again = load_extractor("clap", str(other))
    words = ["a dog barks", "rain"]
    assert torch.equal(again.embed_texts(words), extractor.embed_texts(words))


def test_a_folder_of_another_model_is_refused(tmp_path):
    folder = write(tmp_path, False)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
    with pytest.raises(UserError, match="is a folder of a t5 model, not of clap"):
        load_extractor("clap", str(folder))


def test_hub_ids_are_fetched_when_named(tmp_path, monkeypatch, folder):
    asked = []

    def fetch(repository, allow_patterns, revision):
        assert revision is None  # only the repositories that the code names are pinned
        asked.append((repository, allow_patterns[-1]))
        return str(folder if allow_patterns[-1] == "*.bin" else tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(clap, "WEIGHTS", ("*.none", "*.bin"))
    with pytest.raises(UserError, match="owner/name holds no weights"):
        load_extractor("clap", "owner/name")
    assert asked == [("owner/name", "*.none"), ("owner/name", "*.bin")]
    monkeypatch.setattr(clap, "WEIGHTS", ("*.safetensors",))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **options: str(folder))
    assert load_extractor("clap", "owner/name").name == "clap"
