"""Features on disk, each under the sha256 of the sound file that it was computed from.

One safetensors file per folder and extractor, in `X.features/` beside the folder X, or in the user's cache folder where
that cannot be written. What decides features besides the sound (extractor, weights, reading, our code, versions of
libraries) is part of the file's key; a file with another key, or that fails its checksum, is not read. So features can
be missing, never stale.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import soundfile
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from soundctm.data import audio, resampling
from soundctm.data.names import shown
from soundctm.errors import UserError
from soundctm.evaluation.extractors.base import Features
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders import clips, waveforms
from soundctm.files import write_whole
from soundctm.files.tensors import open_tensors

log = logging.getLogger(__name__)

LIBRARIES = ("torch", "torchaudio", "soundfile", "transformers")


@dataclass(frozen=True)
class Entry:
    """What is stored of one file: its features, its length in seconds and its largest |sample|."""

    features: Features
    seconds: float
    peak: float


@dataclass(frozen=True)
class Key:
    """What decides the features of a given sound."""

    extractor: str
    weights: str  # sha256
    reading: str
    code: str
    libraries: str

    @classmethod
    def of(cls, extractor: str, weights_hash: str, reading: Reading) -> Key:
        """The key of an extractor with these weights and this reading, with the code and the libraries that run now."""
        return cls(extractor, weights_hash, reading.text, code_version(), library_versions())

    @property
    def text(self) -> str:
        return json.dumps(self.__dict__, sort_keys=True)


class FeatureCache:
    """Features of one folder by one extractor: `read()` and `write(entries)`, entries by sha256 of the sound file."""

    def __init__(self, folder: str | os.PathLike, key: Key):
        self.key = key
        folder = Path(os.path.abspath(folder))
        name = f"{key.extractor}-{key.weights[:16]}.safetensors"
        elsewhere = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        beside = folder.with_name(f"{folder.name}.features") / name
        in_cache = user_cache() / f"{shown(folder.name)}-{elsewhere}.features" / name
        self.places = (beside, in_cache)

    def read(self) -> dict[str, Entry]:
        """What is stored; nothing where there is no file, one with another key, or one that is damaged."""
        found: dict[str, Entry] = {}
        for path in filter(Path.is_file, self.places):
            try:
                found |= _entries(path, self.key)
            except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
                log.warning("%s is damaged (%s); its features are computed anew", path, error)
        return found

    def write(self, entries: Mapping[str, Entry]) -> None:
        """Replace what is stored. Where nothing can be written, a warning is logged and nothing is stored."""
        content = _content(entries, self.key)
        for path in self.places:
            try:
                write_whole(path, content)
            except UserError as error:
                log.debug("no cache at %s", path, exc_info=error)
                continue
            return
        places = " or ".join(str(path.parent) for path in self.places)
        log.warning("features cannot be stored in %s; the next run computes them again", places)


def user_cache() -> Path:
    """The folder for caches of folders that cannot be written to."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "soundctm"


@functools.cache
def code_version() -> str:
    """sha256 of the source of everything of ours between a sound file and its features."""
    here = Path(__file__).parents[1]
    readers = [Path(module.__file__) for module in (clips, waveforms, audio, resampling)]
    sources = sorted((here / "extractors").rglob("*.py")) + readers + [Path(__file__)]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@functools.cache
def library_versions() -> str:
    """Versions of the libraries that decode, resample and compute."""
    found = {"libsndfile": soundfile.__libsndfile_version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return " ".join(f"{name} {number}" for name, number in found.items())


def _content(entries: Mapping[str, Entry], key: Key) -> bytes:
    features = [entry.features for entry in entries.values()]
    tensors = {"embeddings": torch.cat([f.embeddings for f in features])} if features else {}
    if features and features[0].logits is not None:
        tensors["logits"] = torch.stack([f.logits for f in features])
    table = [[digest, len(entry.features.embeddings), entry.seconds, entry.peak] for digest, entry in entries.items()]
    metadata = {"key": key.text, "clips": json.dumps(table)}
    return save(tensors, {**metadata, "checksum": _checksum(tensors, metadata)})


def _entries(path: Path, key: Key) -> dict[str, Entry]:
    with open_tensors(path) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    if metadata["key"] != key.text:
        return {}
    if metadata["checksum"] != _checksum(tensors, metadata):
        raise ValueError("its checksum is wrong")
    table = json.loads(metadata["clips"])
    embeddings = tensors["embeddings"].split([patches for _, patches, _, _ in table]) if table else ()
    logits = tensors.get("logits", [None] * len(table))
    return {
        digest: Entry(Features(rows, classes), seconds, peak)
        for (digest, _, seconds, peak), rows, classes in zip(table, embeddings, logits, strict=True)
    }


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(metadata["key"].encode() + metadata["clips"].encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().numpy())
    return digest.hexdigest()
