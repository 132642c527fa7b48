"""Reading the pages that soundctm.evaluation.pages writes: which elements there are and what is embedded."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
import soundfile
from PIL import Image

VOID = {"meta", "img", "br"}


class Parsed(HTMLParser):
    """`elements` in order as (tag, attributes), the `text`, and whether every opened element is closed."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text, self.open = "", []
        self.feed(document)
        self.close()
        assert not self.open, f"{self.open} not closed"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def sounds(self) -> list[tuple[np.ndarray, int]]:
        """Every player's audio, decoded, with its rate."""
        return [soundfile.read(io.BytesIO(_data(a["src"], "audio/ogg"))) for a in self.of("audio")]

    def pictures(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(_data(a["src"], "image/png"))) for a in self.of("img")]

    def assert_self_contained(self) -> None:
        """No script, no link, and nothing loaded from elsewhere."""
        assert not {"script", "link", "iframe", "object", "source"} & {tag for tag, _ in self.elements}
        for _, attributes in self.elements:
            assert "href" not in attributes and not any(name.startswith("on") for name in attributes)
            assert attributes.get("src", "data:").startswith("data:")


def _data(source: str, kind: str) -> bytes:
    head, _, data = source.partition(",")
    assert head == f"data:{kind};base64"
    return base64.b64decode(data, validate=True)
