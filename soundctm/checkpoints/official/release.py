"""Where the files of a SoundCTM-DiT release lie: as its own scripts fetch them, and as its hub repository has them.

ckpt/models/     ac_v2_ema_0999_030000.pt, ac_v2_summary.jsonl, z_stats.pth      model_checkpoints/soundctm/
ckpt/utils/      gaussiandac/weights.pth                                         utils_checkpoints/vae/gaussiandac/
"""

from __future__ import annotations

import os
from pathlib import Path

from soundctm.errors import UserError

VARIANTS = ("ac_v2", "ac_v1_iclr", "ac_as_v2")
MODELS, UTILS = "ckpt/models", "ckpt/utils"
Z_STATS = "z_stats.pth"


def release_files(variant: str, models: str | os.PathLike, utils: str | os.PathLike) -> dict[str, Path]:
    """The files of a variant by argument of `load_official_dit`; the summary only where it is there.

    Raises UserError where one is missing: no other variant takes its place.
    """
    folder = Path(models)
    found = sorted(folder.glob(f"{variant}_ema_*.pt"))
    if not found:
        raise UserError(
            f"{folder} holds no {variant}_ema_*.pt, the weights of {variant}; --model_ckpt_path names another"
        )
    files = {"ema": found[-1], "z_stats": folder / Z_STATS, "autoencoder": autoencoder_file(utils)}
    summaries = sorted(folder.glob(f"{variant}*summary.jsonl"))
    return files | ({"summary": summaries[-1]} if summaries else {})


def autoencoder_file(place: str | os.PathLike) -> Path:
    """`weights.pth` itself, or in the folder that official scripts name. Raises UserError."""
    path = Path(place)
    if not path.is_dir():
        return path
    for inside in ("gaussiandac/weights.pth", "vae/gaussiandac/weights.pth", "weights.pth"):
        if (path / inside).is_file():
            return path / inside
    raise UserError(f"{path} holds no gaussiandac/weights.pth, the autoencoder")
