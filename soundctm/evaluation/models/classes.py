"""Twenty clear classes of the corpus, by which generated clips are judged.

Chosen for clips that a listener recognises and for at least two independent recordings, so that recordings can be held
out. A class joins labels that sound alike; some labels are restricted to the captions that fit the class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from soundctm.data.corpus import CorpusRow


@dataclasses.dataclass(frozen=True)
class SoundClass:
    """The corpus labels of a class, the captions allowed (all, if none), and the AudioSet classes that are right."""

    name: str
    labels: tuple[str, ...]
    audioset: tuple[str, ...]
    captions: tuple[str, ...] = ()


CLASSES = (
    SoundClass("dog", ("dog",), ("Dog", "Bark", "Bow-wow", "Yip", "Growling")),
    SoundClass(
        "bird", ("bird", "blackbird", "lark"), ("Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet")
    ),
    SoundClass("cow", ("cow", "bull"), ("Cattle, bovinae", "Moo", "Livestock, farm animals, working animals")),
    SoundClass(
        "sheep", ("sheep", "goat", "ram"), ("Sheep", "Goat", "Bleat", "Livestock, farm animals, working animals")
    ),
    SoundClass("horse", ("horse",), ("Horse", "Neigh, whinny", "Clip-clop"), ("a horse neighing",)),
    SoundClass("footsteps", ("footsteps",), ("Walk, footsteps", "Run", "Crunch", "Shuffle")),
    SoundClass("typing", ("typing",), ("Typing", "Typewriter", "Computer keyboard")),
    SoundClass("chopping wood", ("chopping wood",), ("Chop", "Knock", "Wood", "Hammer", "Thunk", "Tap")),
    SoundClass("glass breaking", ("glass breaking",), ("Glass", "Shatter", "Breaking", "Chink, clink")),
    SoundClass(
        "bell",
        ("bell",),
        ("Bell", "Church bell", "Bicycle bell", "Cowbell", "Tubular bells", "Change ringing (campanology)"),
    ),
    SoundClass("piano", ("piano",), ("Piano", "Keyboard (musical)", "Electric piano")),
    SoundClass("guitar", ("guitar",), ("Guitar", "Acoustic guitar", "Electric guitar", "Plucked string instrument")),
    SoundClass(
        "drum", ("drum",), ("Drum", "Drum kit", "Percussion", "Drum machine", "Drum roll", "Snare drum", "Bass drum")
    ),
    SoundClass(
        "water", ("water", "waterfall"), ("Water", "Stream", "Waterfall", "Liquid", "Pour", "Ocean", "Gurgling")
    ),
    SoundClass("fire", ("fire",), ("Fire", "Crackle")),
    SoundClass("explosion", ("explosion",), ("Explosion", "Boom", "Eruption", "Artillery fire")),
    SoundClass(
        "car",
        ("car",),
        ("Car", "Race car, auto racing", "Engine", "Motor vehicle (road)", "Accelerating, revving, vroom"),
    ),
    SoundClass("helicopter", ("helicopter",), ("Helicopter", "Aircraft", "Propeller, airscrew")),
    SoundClass("laughter", ("laughter",), ("Laughter", "Chuckle, chortle", "Giggle", "Belly laugh", "Snicker")),
    SoundClass("applause", ("applause",), ("Applause", "Clapping", "Cheering", "Crowd")),
)
NAMES = tuple(sound_class.name for sound_class in CLASSES)


def class_of(row: CorpusRow) -> str | None:
    """The class that a clip of the corpus belongs to, or None."""
    for sound_class in CLASSES:
        if row.label in sound_class.labels and (not sound_class.captions or row.caption in sound_class.captions):
            return sound_class.name
    return None


def rows_by_class(rows: Iterable[CorpusRow]) -> dict[str, list[CorpusRow]]:
    """The clips of each class, in the order of `CLASSES`."""
    groups: dict[str, list[CorpusRow]] = {name: [] for name in NAMES}
    for row in rows:
        name = class_of(row)
        if name is not None:
            groups[name].append(row)
    return groups


def group_folds(rows: Iterable[CorpusRow], folds: int) -> list[list[CorpusRow]]:
    """Clips of the classes in `folds` parts; no group is split, and every class is spread over as many as it can be."""
    parts: list[list[CorpusRow]] = [[] for _ in range(folds)]
    for shift, members in enumerate(rows_by_class(rows).values()):
        groups: dict[str, list[CorpusRow]] = {}
        for row in members:
            groups.setdefault(row.group, []).append(row)
        sizes = [0] * folds
        for group in sorted(groups, key=lambda name: (-len(groups[name]), name)):
            part = min(range(folds), key=lambda k: (sizes[k], (k - shift) % folds))
            parts[part] += groups[group]
            sizes[part] += len(groups[group])
    return parts
