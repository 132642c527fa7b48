"""Features of the clips of a folder: what the cache holds, and the rest computed by the extractors, several at once.

Every run hashes all files; only those whose content the cache does not know are decoded, once for all extractors, and
an extractor that has nothing to do is never built.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from torch import Tensor
from tqdm import tqdm

from soundctm.errors import UserError
from soundctm.evaluation.extractors import registry
from soundctm.evaluation.extractors.base import Extractor, Features
from soundctm.evaluation.extractors.reading import Reading
from soundctm.evaluation.folders.cache import Entry, FeatureCache, Key
from soundctm.evaluation.folders.clips import (
    BEYOND,
    SILENCE,
    Sound,
    Unreadable,
    clip_name,
    file_digest,
    in_order,
    list_clips,
    read_sound,
)

log = logging.getLogger(__name__)

MOST_UNREADABLE = 0.01  # share of a folder's clips
SHORT = 0.1  # seconds, below which a clip is named
BATCH_SECONDS = 600.0  # of sound at once, however few clips that is


class Describes(Protocol):
    """What is needed of an extractor here; `Extractor`s fulfil it, and so does `LazyExtractor`."""

    name: str
    reading: Reading
    weights_hash: str

    def __call__(self, waveforms: Sequence[Tensor]) -> list[Features]: ...


class LazyExtractor:
    """An extractor of the registry whose weights are found and hashed at once, but read when they are first needed."""

    def __init__(self, name: str, weights: str | None = None, device: str = "cpu"):
        """Raises UserError for an unknown name and for absent weights."""
        entry = registry.entry(name)
        self.name, self.title, self.windows = name, entry.title, entry.windows
        self.reading, self.has_classes = entry.reading, entry.classes > 0
        self.weights_hash = registry.weights_hash(name, weights)
        self._load: Callable[[], Extractor] = functools.partial(registry.load_extractor, name, weights, device)

    @functools.cached_property
    def loaded(self) -> Extractor:
        """The extractor itself. Raises UserError when its weights cannot be used."""
        extractor = self._load()
        if extractor.weights_hash != self.weights_hash:
            raise UserError(f"the weights of {self.name} changed while they were read; start again")
        if extractor.sampling_rate != self.reading.sampling_rate:
            raise UserError(
                f"these weights of {self.name} take sound at {extractor.sampling_rate} Hz, "
                f"not {self.reading.sampling_rate} Hz"
            )
        return extractor

    def __call__(self, waveforms: Sequence[Tensor]) -> list[Features]:
        return self.loaded(waveforms)


@dataclass(frozen=True)
class FolderFeatures:
    """The readable clips of a folder, in the order of their names, with features per extractor name."""

    folder: Path
    names: tuple[str, ...]
    seconds: tuple[float, ...]
    silent: tuple[str, ...]  # names; they count like every other clip
    beyond: tuple[str, ...]  # names of those far beyond full scale; they count, too
    same: tuple[tuple[str, ...], ...]  # names that share one content
    unreadable: tuple[Unreadable, ...]
    features: Mapping[str, tuple[Features, ...]] = field(repr=False)
    computed: int  # clips that the cache did not know

    def embeddings(self, extractor: str) -> list[Tensor]:
        """One [P_i, D] per clip."""
        return [clip.embeddings for clip in self.features[extractor]]

    def logits(self, extractor: str) -> list[Tensor]:
        """One [classes] per clip."""
        return [clip.logits for clip in self.features[extractor]]

    def only(self, chosen: Sequence[int]) -> FolderFeatures:
        """The clips with these indices; what is said of odd ones (silent, unreadable, ...) stays that of the folder."""
        features = {name: tuple(clips[i] for i in chosen) for name, clips in self.features.items()}
        names, seconds = (tuple(values[i] for i in chosen) for values in (self.names, self.seconds))
        return replace(self, names=names, seconds=seconds, features=features)


def folder_features(
    folder: str | os.PathLike,
    extractors: Sequence[Describes],
    *,
    batch_size: int = 16,
    num_workers: int = 2,
    recalculate: bool = False,
) -> FolderFeatures:
    """Features of every clip of `folder`; with `recalculate`, the cache is written but not read.

    Raises UserError as `list_clips`, and when more than 1 % of the clips cannot be read; each of them is logged.
    """
    paths = list_clips(folder)
    digests = dict(zip(paths, in_order(file_digest, paths, num_workers), strict=True))
    caches = {e.name: FeatureCache(folder, Key.of(e.name, e.weights_hash, e.reading)) for e in extractors}
    found = {name: {} if recalculate else cache.read() for name, cache in caches.items()}
    known = {name: dict(entries) for name, entries in found.items()}
    lacking = {path: [e for e in extractors if digests[path] not in known[e.name]] for path in paths}
    todo = [path for path in paths if lacking[path]]
    try:
        _compute(todo, lacking, digests, known, batch_size, num_workers)
    finally:  # what was finished before an interruption is kept
        present = [digest for digest in dict.fromkeys(digests.values()) if isinstance(digest, str)]
        for name, cache in caches.items():
            entries = {digest: known[name][digest] for digest in present if digest in known[name]}
            if entries.keys() != found[name].keys():
                cache.write(entries)
    return _gathered(Path(folder), digests, known, len(todo))


def _compute(
    todo: Sequence[Path],
    lacking: Mapping[Path, Sequence[Describes]],
    digests: dict[Path, str | Unreadable],
    known: Mapping[str, dict[str, Entry]],
    batch_size: int,
    num_workers: int,
) -> None:
    """Read the files of `todo` and add their features to `known`; `digests` follow what was read in the end."""

    def read(path: Path) -> Sound | Unreadable:
        return read_sound(path, {extractor.reading for extractor in lacking[path]})

    extractors = list({extractor.name: extractor for path in todo for extractor in lacking[path]}.values())

    def flush(batch: list[tuple[Path, Sound]]) -> None:
        for extractor in extractors:
            sounds = [sound for path, sound in batch if extractor in lacking[path]]
            features = extractor([sound.waveforms[extractor.reading] for sound in sounds]) if sounds else []
            for sound, feature in zip(sounds, features, strict=True):
                known[extractor.name][sound.digest] = Entry(feature, sound.seconds, sound.peak)
        batch.clear()

    batch: list[tuple[Path, Sound]] = []
    sounds = in_order(read, todo, num_workers)
    for path, sound in zip(todo, tqdm(sounds, "features", len(todo), unit="clip", disable=not todo), strict=True):
        if isinstance(sound, Unreadable):
            digests[path] = sound
            continue
        digests[path] = sound.digest
        batch.append((path, sound))
        if len(batch) >= batch_size or sum(sound.seconds for _, sound in batch) >= BATCH_SECONDS:
            flush(batch)
    flush(batch)


def _gathered(
    folder: Path, digests: Mapping[Path, str | Unreadable], known: Mapping[str, dict[str, Entry]], computed: int
) -> FolderFeatures:
    unreadable = tuple(digest for digest in digests.values() if isinstance(digest, Unreadable))
    for clip in unreadable:
        log.warning(clip.reason)
    if len(unreadable) > MOST_UNREADABLE * len(digests):
        raise UserError(
            f"{len(unreadable)} of the {len(digests)} clips of {folder} cannot be evaluated (more than 1 %), "
            f"among them {unreadable[0].name}"
        )
    readable = {clip_name(path, folder): digest for path, digest in digests.items() if isinstance(digest, str)}
    facts = next(iter(known.values()))
    peaks = {name: facts[digest].peak for name, digest in readable.items()}
    seconds = {name: facts[digest].seconds for name, digest in readable.items()}
    silent = tuple(name for name, peak in peaks.items() if peak <= SILENCE)
    beyond = tuple(name for name, peak in peaks.items() if peak > BEYOND)
    contents: dict[bytes, list[str]] = {}
    for name, digest in readable.items():
        if name not in silent:  # what is equal of those is no content
            contents.setdefault(facts[digest].features.embeddings.numpy().tobytes(), []).append(name)
    same = tuple(tuple(names) for names in contents.values() if len(names) > 1)
    _warn(Path(folder), silent, beyond, same, seconds, peaks)
    features = {name: tuple(entries[d].features for d in readable.values()) for name, entries in known.items()}
    return FolderFeatures(
        folder, tuple(seconds), tuple(seconds.values()), silent, beyond, same, unreadable, features, computed
    )


def _warn(
    folder: Path,
    silent: Sequence[str],
    beyond: Sequence[str],
    same: Sequence[Sequence[str]],
    seconds: Mapping[str, float],
    peaks: Mapping[str, float],
) -> None:
    """A line for each clip that is none to be proud of."""
    for name in silent:
        log.warning("%s is silent; it counts like every other clip", folder / name)
    for name in beyond:
        log.warning(
            "%s peaks at %.4g, far beyond full scale; float files are read as scaled to [-1, 1] (16 bits: over 32768)",
            folder / name,
            peaks[name],
        )
    for names in same:
        log.warning("%s: %d clips have the same content: %s", folder, len(names), listed(names))
    for name, length in seconds.items():
        if length < SHORT:
            log.warning("%s lasts %.3f s; extractors pad it with zeros", folder / name, length)


def listed(names: Sequence[str], most: int = 3) -> str:
    """Some of `names` for people."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
