"""Convert between the official files and our own checkpoint folder.

    python -m soundctm.checkpoints.convert to-folder --ema ema_0.999_030000.pt --student pytorch_model.bin \
        --audioldm audioldm-s-full.ckpt --summary summary.jsonl --output ckpt/full
    python -m soundctm.checkpoints.convert to-official --checkpoint ckpt/full --output ckpt/official
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from soundctm.checkpoints.components import NETWORKS, Components
from soundctm.checkpoints.layout import TEXT_ENCODER, Index
from soundctm.checkpoints.loading import load_checkpoint, local_folder
from soundctm.checkpoints.official.unet import FULL_CONFIGS, load_official
from soundctm.checkpoints.official.unet_export import save_official
from soundctm.checkpoints.saving import save_checkpoint
from soundctm.command import exit_code
from soundctm.errors import UserError

log = logging.getLogger(__name__)

OFFICIAL = ("student", "ema", "teacher", "audioldm", "summary")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def to_folder(args: argparse.Namespace) -> str:
    """Official files -> our folder."""
    files = {name: getattr(args, name) for name in OFFICIAL if getattr(args, name)}
    if not files:
        raise UserError("give at least one of " + ", ".join(f"--{name}" for name in OFFICIAL))
    parts = load_official(
        **files,
        text_encoder_name=args.text_encoder_name,
        unet_config=args.unet_config,
        text_config=args.text_config,
    )
    _fetch_tokenizer(parts, args.output)
    folder = save_checkpoint(
        args.output,
        parts,
        dtype=DTYPES[args.dtype],
        store_text_encoder=parts.text_encoder is not None,
        model_card=_card(files, args.dtype),
        overwrite=args.overwrite,
    )
    return f"wrote {folder}: {', '.join(Index.read(folder).parts)}"


def to_official(args: argparse.Namespace) -> str:
    """Our folder -> official files."""
    folder = local_folder(args.checkpoint, args.weights or list(NETWORKS))
    weights = args.weights or [name for name in Index.read(folder).parts if name in NETWORKS]
    paths = save_official(args.output, load_checkpoint(folder, weights))
    return "wrote " + ", ".join(str(path) for path in paths.values())


def main(argv: Sequence[str] | None = None, program: str = "python -m soundctm.checkpoints.convert") -> int:
    """Exit status: 0, or 2 with one line on stderr when something given is wrong."""
    args = _parser(program).parse_args(argv)
    return exit_code(lambda: print(args.run(args)))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=__doc__.replace("python -m soundctm.checkpoints.convert", program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    folder = commands.add_parser("to-folder", help=to_folder.__doc__)
    folder.set_defaults(run=to_folder)
    for name in OFFICIAL:
        folder.add_argument(f"--{name}", metavar="FILE", help=f"official {name} file")
    folder.add_argument("--text_encoder_name", metavar="NAME", help="hub id or folder of the tokenizer")
    folder.add_argument("--unet_config", metavar="JSON", default=FULL_CONFIGS / "unet.json")
    folder.add_argument("--text_config", metavar="JSON", default=FULL_CONFIGS / "text_encoder.json")
    folder.add_argument("--dtype", choices=DTYPES, default="float32", help="precision of networks and codec on disk")
    folder.add_argument("--overwrite", action="store_true", help="replace an older checkpoint at --output")

    official = commands.add_parser("to-official", help=to_official.__doc__)
    official.set_defaults(run=to_official)
    official.add_argument("--checkpoint", required=True, metavar="FOLDER", help="our checkpoint folder, or a hub id")
    official.add_argument("--weights", nargs="+", choices=NETWORKS, help="networks to write (default: all)")

    for command in (folder, official):
        command.add_argument("--output", required=True, metavar="FOLDER", help="where to write")
    return parser


def _fetch_tokenizer(parts: Components, output: str) -> None:
    """Loads the tokenizer, so that it is written beside the encoder; its absence is no reason to fail."""
    if parts.text_encoder is None:
        return
    try:
        parts.text_encoder.tokenizer  # noqa: B018  (loaded on first use)
    except UserError as error:
        log.warning("%s; captions need it: put its files into %s", error, Path(output) / TEXT_ENCODER)


def _card(files: dict[str, str], dtype: str) -> str:
    rows = "\n".join(f"- {name}: `{Path(path).name}`" for name, path in files.items())
    return (
        "# SoundCTM, converted from official files\n\n"
        f"{rows}\n\nNetworks and codec are stored as {dtype}. The weights keep the licence of the files they came "
        "from.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
