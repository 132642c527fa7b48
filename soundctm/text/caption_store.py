"""Hidden states of captions on disk, so that a text encoder runs once per caption and not once per start.

    <folder>/<encoder>/<n>.safetensors      "rows" [tokens of all its captions, D]; captions and lengths in the header

The encoder's name there is the hash of its weights. Files are memory-mapped: a process holds what it uses. Captions
that are new go into a further file, and the older ones stay as they are to the last bit, which depends on what a
caption was encoded with.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from soundctm.files import sweep, whole_file
from soundctm.files.tensors import open_tensors
from soundctm.text.conditioning import TextConditioning
from soundctm.text.encoder import TextEncoder

logger = logging.getLogger(__name__)

AT_ONCE = 256  # captions encoded together
PER_FILE = 4 * AT_ONCE  # captions written together: an interrupted start goes on after them


class CaptionStore:
    """`encode` as the text encoder's, from disk for every caption that `prepare` has seen."""

    def __init__(self, encoder: TextEncoder, folder: str | os.PathLike, encoder_hash: str) -> None:
        self.encoder, self.folder = encoder, Path(folder) / encoder_hash
        self._places: dict[str, tuple[object, int, int]] = {}  # caption: (open file, first row, last row)
        self._read: set[Path] = set()

    def prepare(self, captions: Iterable[str]) -> None:
        """Make sure that `captions` and the empty prompt are on disk; encodes those that are not, in one order."""
        sweep(self.folder)
        self._open(remove=True)
        wanted = [caption for caption in sorted({"", *captions}) if caption not in self._places]
        for first in range(0, len(wanted), PER_FILE):
            part, rows = wanted[first : first + PER_FILE], []
            for start in range(0, len(part), AT_ONCE):
                text = self.encoder.encode(part[start : start + AT_ONCE])
                rows += [hidden[mask].cpu() for hidden, mask in zip(text.hidden, text.mask, strict=True)]
            self._write(part, rows)
            self._open()

    def encode(self, captions: Sequence[str]) -> TextConditioning:
        """Hidden states [B, L, D] of `captions` on the CPU; those not on disk are encoded, each by itself."""
        rows = [self._row(caption) for caption in captions]
        return TextConditioning.from_rows((row, torch.ones(len(row), dtype=torch.bool)) for row in rows)

    def _row(self, caption: str) -> torch.Tensor:
        if caption not in self._places:
            return self.encoder.encode([caption]).hidden[0].cpu()
        file, first, last = self._places[caption]
        return file.get_slice("rows")[first:last]

    def _open(self, remove: bool = False) -> None:
        """Open the new files; a damaged one is told, and removed if its captions are about to be made again."""
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._read):
            try:
                file = open_tensors(path)
                header = file.metadata()
                captions, lengths = json.loads(header["captions"]), json.loads(header["lengths"])
                rows = file.get_slice("rows").get_shape()[0]
                if len(captions) != len(lengths) or sum(lengths) != rows or min(lengths, default=1) < 1:
                    raise ValueError(f"{len(captions)} captions have {len(lengths)} lengths for {rows} rows")
            except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
                logger.warning("%s cannot be used, its captions are encoded again: %s", path, error)
                if remove:
                    with contextlib.suppress(OSError):
                        path.unlink()
                continue
            self._read.add(path)
            first = 0
            for caption, length in zip(captions, lengths, strict=True):
                self._places[caption] = (file, first, first + length)
                first += length

    def _write(self, captions: Sequence[str], rows: Sequence[torch.Tensor]) -> None:
        number = len(self._read)
        while (path := self.folder / f"{number:04d}-{os.getpid()}.safetensors").exists():
            number += 1  # of an earlier process with this number
        header = {"captions": json.dumps(list(captions)), "lengths": json.dumps([len(row) for row in rows])}
        with whole_file(path) as temporary:
            save_file({"rows": torch.cat(list(rows)).contiguous()}, temporary, header)
