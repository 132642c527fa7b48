"""The 527 class names of AudioSet, in the order of the logits of networks trained on it (PaSST, PANNs).

The list is part of the AudioSet ontology, published by its makers under CC BY 4.0; YAMNet's 521 classes are these less
six.
"""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def class_names() -> tuple[str, ...]:
    """The names, 527 of them."""
    text = (resources.files(__package__) / "audioset_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
