"""Damaged files that this code wrote itself: checkpoints of trainings, caches, bundles, manifests, 44.1 kHz codecs."""

import dataclasses
import json
import random
import shutil
import zlib

import pytest
import torch
from dit import SMALLER
from fuzz.mutations import mutated_bytes, mutated_header, mutated_values, mutated_zip
from fuzz.watching import cases, fuzz
from safetensors.torch import save_file

from soundctm.checkpoints.loading import load_codec, load_network
from soundctm.checkpoints.official.autoencoder import load_autoencoder, save_autoencoder
from soundctm.codecs.waveform import WaveformCodec
from soundctm.data.bundle.reading import FORMAT, VERSION, read_bundle
from soundctm.data.clip_latents import ClipLatents, _is_whole
from soundctm.data.dataset import CaptionedFile
from soundctm.data.latents import LatentDataset, read_latents, write_latents
from soundctm.evaluation.extractors.base import Features
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders.cache import Entry as Stored
from soundctm.evaluation.folders.cache import FeatureCache, Key
from soundctm.inference.again import clips_of, shared_options
from soundctm.inference.manifest import COLUMNS, Entry, Manifest
from soundctm.networks import backbone
from soundctm.text import TextConditioning
from soundctm.text.caption_store import CaptionStore
from soundctm.training.inputs.trajectories import StoredTrajectories
from soundctm.training.inputs.trajectories import _is_whole as solved
from soundctm.training.running.checkpointing import Checkpointer
from soundctm.training.running.state import Position, pack, restore

SHAPE = (4, 3, 2)  # of latents


def damaging(path):
    """Writes damaged forms of the file that is there, whose header is of safetensors."""
    good = path.read_bytes()

    def write(rng):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # what was read before may still be mapped
        path.write_bytes(mutated_bytes(good, rng) if rng.random() < 0.3 else mutated_header(good, rng, 900))

    return write


@dataclasses.dataclass
class Options:
    lr: float = 0.1


def parts():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 3)
    optimizer = torch.optim.RAdam(net.parameters())
    net(torch.ones(3)).sum().backward()
    optimizer.step()
    return {"net": net, "optimizer": optimizer}


@cases
@pytest.mark.parametrize("what", ["state", "meta"])
def test_checkpoints_of_trainings(what, cases, tmp_path):
    """The state has the right checksum: it is no accident, or the file system's."""
    checkpointer = Checkpointer(tmp_path / "run")
    path = checkpointer.save(3, pack(parts(), {"vae": "a"}, Options(), Position(3, 1.0)))
    state, meta = (path / "state.pt").read_bytes(), json.loads((path / "meta.json").read_text())

    def write(rng):
        shutil.rmtree(tmp_path / "run")  # with what was set aside
        path.mkdir(parents=True)
        (path / "state.pt").write_bytes(state)
        if what == "meta":
            text = json.dumps(mutated_values(meta, rng)).encode()
            (path / "meta.json").write_bytes(text if rng.random() < 0.7 else mutated_bytes(text, rng))
            return
        content = mutated_zip(state, rng)
        (path / "state.pt").write_bytes(content)
        numbers = {"bytes": len(content), "crc32": zlib.crc32(content)}
        (path / "meta.json").write_text(json.dumps(meta | numbers))

    def read():
        again = Checkpointer(tmp_path / "run")
        restore(again, "latest", parts(), {"vae": "a"}, Options())
        again.best()
        again.begin(3, meta["run"])

    fuzz(cases, f"training {what}", tmp_path, write, read)


@cases
def test_cached_latents_are_made_again(cases, tmp_path):
    path = tmp_path / "a.safetensors"
    mean = torch.arange(48.0).reshape(2, *SHAPE).half()
    write_latents(LatentDataset(mean, mean.clone(), ["rain", "wind"], ["a", "b"], 0.5), path, "key")

    def read():
        found = read_latents(path, "key")
        if found is not None:
            assert len(found) == len(found.captions) == len(found.labels)
            found.draw(torch.arange(len(found)))

    fuzz(cases, "latents", tmp_path, damaging(path), read, refusals=False)


@cases
def test_cached_latents_of_clips_are_made_again(cases, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"mean": torch.ones(SHAPE).half(), "logvar": torch.ones(SHAPE).half()}, path)
    data = ClipLatents([CaptionedFile(tmp_path / "a.wav", "rain")], [path], {}, 1.0, SHAPE, 10)

    def read():
        if _is_whole(path, SHAPE):
            mean, logvar, _ = data[0]
            assert mean.shape == logvar.shape == SHAPE

    fuzz(cases, "clip latents", tmp_path, damaging(path), read, refusals=False)


class Letters:
    def encode(self, captions):
        rows = [torch.tensor([[float(ord(c)), len(t)] for c in t + "."]) for t in captions]
        return TextConditioning.from_rows((row, torch.ones(len(row), dtype=torch.bool)) for row in rows)


@cases
def test_cached_captions_are_encoded_again(cases, tmp_path):
    captions = ["rain", "a dog", ""]
    CaptionStore(Letters(), tmp_path, "abc").prepare(captions)
    (path,) = (tmp_path / "abc").iterdir()
    write = damaging(path)

    def alone(rng):
        shutil.rmtree(tmp_path / "abc")
        write(rng)

    def read():
        store = CaptionStore(Letters(), tmp_path, "abc")
        store.prepare(captions)
        assert store.encode(captions).hidden.shape[0] == 3

    fuzz(cases, "captions", tmp_path, alone, read, refusals=False)


@cases
def test_stored_trajectories_are_solved_again(cases, tmp_path):
    path, clips = tmp_path / "000000.safetensors", ["rain", "wind"]
    tensors = {"states": torch.ones(2, 5, *SHAPE), "latents": torch.ones(2, *SHAPE), "omega": torch.ones(2)}
    save_file(tensors, path, {"captions": json.dumps(clips)})

    def read():
        if solved(path, 2, (5, *SHAPE)):
            rows = StoredTrajectories(tmp_path, None, 2, 2, 0).batch(0, range(2))
            assert rows.states.shape == (2, 5, *SHAPE) and all(isinstance(text, str) for text in rows.captions)

    fuzz(cases, "trajectories", tmp_path, damaging(path), read, refusals=False)


@cases
def test_stored_features_are_computed_again(cases, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache = FeatureCache(tmp_path / "x", Key.of("spectrum", "f" * 64, Reading(8000)))
    good = {f"{k}" * 64: Stored(Features(torch.full((k, 3), 1.0), torch.ones(4)), 1.5, 0.5) for k in (1, 2)}
    cache.write(good)
    (path,) = (tmp_path / "x.features").iterdir()

    def read():
        for digest, entry in cache.read().items():
            assert torch.equal(entry.features.embeddings, good[digest].features.embeddings)

    fuzz(cases, "features", tmp_path, damaging(path), read, refusals=False)


@cases
def test_bundles(cases, tmp_path):
    path = tmp_path / "bundle.safetensors"
    header = {
        "format": FORMAT, "version": VERSION, "identity": {"vae": "a", "text": "b"}, "text_encoder": "t",
        "latent_shape": SHAPE, "scale_factor": 0.5, "captions": ["", "rain"], "states": [0, 1], "lengths": [1, 2],
    }  # fmt: skip
    tensors = {"text.rows": torch.ones(3, 2, 4).half()}
    for name, count in (("train", 2), ("held_out", 1)):
        tensors |= {f"{name}.mean": torch.ones(count, *SHAPE).half()}
        tensors |= {f"{name}.caption": torch.ones(count, dtype=torch.int32)}

    def save(values):
        path.unlink(missing_ok=True)
        save_file(tensors, path, {"bundle": json.dumps(values)})

    save(header)
    damage = damaging(path)

    def write(rng):
        damage(rng) if rng.random() < 0.4 else save(mutated_values(header, rng))

    def read():
        bundle = read_bundle(path)
        for part in (bundle.train, bundle.held_out):
            for mean, logvar, caption in (part[i] for i in range(len(part))):
                assert mean.shape == logvar.shape == SHAPE
                bundle.texts.encode([caption])
        bundle.texts.encode([""])

    fuzz(cases, "bundle", tmp_path, write, read)


@cases
def test_manifests(cases, tmp_path):
    values = dict.fromkeys(COLUMNS, "") | {"caption": "rain", "seed": "7", "steps": "1", "seconds": "1"}
    manifest = Manifest(tmp_path)
    for name in ("a.wav", "b/c.wav"):
        manifest.append(Entry(**values | {"file": name, "steering": json.dumps({"negative_prompt": "wind"})}))
    good = manifest.path.read_bytes()

    def read():
        entries = list(Manifest(tmp_path).read().values())
        if entries:
            shared_options(entries, {})
        for clip in clips_of(entries):
            assert (tmp_path / clip.name).resolve().is_relative_to(tmp_path.resolve())

    fuzz(cases, "manifest", tmp_path, lambda rng: manifest.path.write_bytes(mutated_bytes(good, rng)), read)


@pytest.fixture(scope="module")
def waveform_codec():
    torch.manual_seed(0)
    return WaveformCodec([2, 2], 8, 4, 16)


@cases
@pytest.mark.parametrize("what", ["config", "weights"])
def test_waveform_codecs(what, cases, waveform_codec, tmp_path):
    waveform_codec.save_pretrained(tmp_path / "codec")
    config = tmp_path / "codec" / "config.json"
    good = json.loads(config.read_text())
    damage = damaging(next((tmp_path / "codec").glob("*.safetensors")))

    def write(rng):
        config.write_text(json.dumps(mutated_values(good, rng))) if what == "config" else damage(rng)

    fuzz(cases, f"waveform {what}", tmp_path, write, lambda: load_codec(tmp_path / "codec"))


@cases
def test_official_autoencoders(cases, waveform_codec, tmp_path):
    path, statistics = tmp_path / "weights.pth", tmp_path / "z_stats.pth"
    save_autoencoder(waveform_codec, path, statistics)
    content = torch.load(path, weights_only=True)
    good = path.read_bytes()

    def write(rng: random.Random):
        path.unlink()
        if rng.random() < 0.5:
            path.write_bytes(mutated_zip(good, rng))
        else:
            torch.save(content | {"metadata": mutated_values(content["metadata"], rng)}, path)

    fuzz(cases, "official autoencoder", tmp_path, write, lambda: load_autoencoder(path, statistics))


@cases
@pytest.mark.parametrize("what", ["config", "weights"])
def test_transformers(what, cases, tmp_path):
    torch.manual_seed(0)
    small = SMALLER | {"num_attention_heads": 1, "num_key_value_attention_heads": 1, "_class_name": "StudentDiT"}
    backbone(small, "").student.from_config(small).save_pretrained(tmp_path / "ema")
    config = tmp_path / "ema" / "config.json"
    good = json.loads(config.read_text())
    damage = damaging(next((tmp_path / "ema").glob("*.safetensors")))

    def write(rng):
        config.write_text(json.dumps(mutated_values(good, rng))) if what == "config" else damage(rng)

    fuzz(cases, f"transformer {what}", tmp_path, write, lambda: load_network(tmp_path / "ema", "ema"))
