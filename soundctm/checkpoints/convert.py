"""Convert between the official files and our own checkpoint folder.

    python -m soundctm.checkpoints.convert to-folder --ema ema_0.999_030000.pt --student pytorch_model.bin \
        --audioldm audioldm-s-full.ckpt --summary summary.jsonl --output ckpt/full
    python -m soundctm.checkpoints.convert to-folder --ema ac_v2_ema_0999_030000.pt --autoencoder weights.pth \
        --z_stats z_stats.pth --summary ac_v2_summary.jsonl --output ckpt/dit-v2
    python -m soundctm.checkpoints.convert to-official --checkpoint ckpt/full --output ckpt/official

The files tell whether they are those of the UNet at 16 kHz or of SoundCTM-DiT at 44.1 kHz.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from soundctm.checkpoints.components import NETWORKS, Components
from soundctm.checkpoints.layout import TEXT_ENCODER, Index
from soundctm.checkpoints.loading import load_checkpoint, local_folder
from soundctm.checkpoints.official.dit import holds_transformer, load_official_dit
from soundctm.checkpoints.official.dit_export import save_official_dit
from soundctm.checkpoints.official.unet import FULL_CONFIGS, load_official
from soundctm.checkpoints.official.unet_export import save_official
from soundctm.checkpoints.saving import save_checkpoint
from soundctm.codecs.waveform import WaveformCodec
from soundctm.command import Parser, exit_code
from soundctm.errors import UserError
from soundctm.networks.dit import StudentDiT, TeacherDiT

log = logging.getLogger(__name__)

NETWORK_FILES = {
    "student": "a student's", "ema": "the average of a student's weights", "teacher": "a teacher's",
}  # fmt: skip
OTHER_FILES = {
    "audioldm": "codec of the UNet, audioldm-s-full.ckpt",
    "autoencoder": "codec of SoundCTM-DiT, weights.pth",
    "z_stats": "statistics of its latents, z_stats.pth",
    "summary": "options of the training, summary.jsonl",
}
OFFICIAL = (*NETWORK_FILES, *OTHER_FILES)
OF_UNET, OF_DIT = ("audioldm",), ("autoencoder", "z_stats")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def to_folder(args: argparse.Namespace) -> str:
    """Official files -> our folder."""
    files = {name: getattr(args, name) for name in OFFICIAL if getattr(args, name)}
    if not files:
        raise UserError("give at least one of " + ", ".join(f"--{name}" for name in OFFICIAL))
    if _are_of_dit(files):
        parts = load_official_dit(**files, text_encoder_name=args.text_encoder_name)
    else:
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
    parts = load_checkpoint(folder, weights)
    save = save_official_dit if _is_dit(parts) else save_official
    paths = save(args.output, parts)
    return "wrote " + ", ".join(str(path) for path in paths.values())


def main(argv: Sequence[str] | None = None, program: str = "python -m soundctm.checkpoints.convert") -> int:
    """Exit status: 0, or 2 with one line on stderr when something given is wrong."""
    args = _parser(program).parse_args(argv)
    return exit_code(lambda: print(args.run(args)))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=program,
        description=__doc__.replace("python -m soundctm.checkpoints.convert", program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    folder = commands.add_parser("to-folder", help=to_folder.__doc__)
    folder.set_defaults(run=to_folder)
    for name, what in {**{n: f"official file, {w}" for n, w in NETWORK_FILES.items()}, **OTHER_FILES}.items():
        folder.add_argument(f"--{name}", metavar="FILE", help=what)
    folder.add_argument("--text_encoder_name", metavar="NAME", help="hub id or folder of the tokenizer")
    folder.add_argument("--unet_config", metavar="JSON", default=FULL_CONFIGS / "unet.json", help="the UNet's")
    folder.add_argument(
        "--text_config", metavar="JSON", default=FULL_CONFIGS / "text_encoder.json", help="the UNet's text encoder's"
    )
    folder.add_argument("--dtype", choices=DTYPES, default="float32", help="precision of networks and codec on disk")
    folder.add_argument("--overwrite", action="store_true", help="replace an older checkpoint at --output")

    official = commands.add_parser("to-official", help=to_official.__doc__)
    official.set_defaults(run=to_official)
    official.add_argument("--checkpoint", required=True, metavar="FOLDER", help="our checkpoint folder, or a hub id")
    official.add_argument("--weights", nargs="+", choices=NETWORKS, help="networks to write (default: all)")

    for command in (folder, official):
        command.add_argument("--output", required=True, metavar="FOLDER", help="where to write")
    return parser


def _are_of_dit(files: Mapping[str, str]) -> bool:
    """Whether official files are those of SoundCTM-DiT. Raises UserError for a mixture."""
    networks = [path for name, path in files.items() if name in NETWORK_FILES]
    found = {path: holds_transformer(path) for path in networks}
    found |= {files[name]: name in OF_DIT for name in (*OF_UNET, *OF_DIT) if name in files}
    if len(set(found.values())) > 1:
        dit, unet = (next(path for path, is_dit in found.items() if is_dit == wanted) for wanted in (True, False))
        raise UserError(f"{dit} is a file of SoundCTM-DiT, and {unet} one of the UNet; convert them one by one")
    return True in found.values()


def _is_dit(parts: Components) -> bool:
    return any(isinstance(part, StudentDiT | TeacherDiT) for _, part in parts.networks()) or isinstance(
        parts.codec, WaveformCodec
    )


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
