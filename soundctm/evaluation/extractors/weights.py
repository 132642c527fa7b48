"""Where the weights of an extractor come from: the default place, a given file or folder, or a model hub.

None                        the default, ckpt/extractors/<upstream file name>
"weights/vggish.pth"        a file; or a folder that holds the file under its upstream name
"owner/name"                a hub id, if no such path exists: the repository's file of the upstream name is fetched
"owner/name/file.pth"       a hub id with the file's name in the repository

Nothing is fetched unless a hub id is given.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundctm.errors import UserError

if TYPE_CHECKING:  # importing it takes seconds, and a help text needs no more than the names below
    from soundctm.checkpoints.torch_files import StateDict

log = logging.getLogger(__name__)

FOLDER = Path("ckpt/extractors")  # the default place, below the working folder
SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".safetensors", ".h5", ".gz")


@dataclass(frozen=True)
class Published:
    """A file of weights as its makers publish it."""

    extractor: str  # whose weights they are: "vggish"
    file: str  # its name there and below FOLDER
    project: str  # where it is published, in words

    def locate(self, weights: str | None = None) -> Path:
        """The file that `weights` (see the module docstring) names. Raises UserError that says what to fetch."""
        if weights is None:
            return self._found(FOLDER / self.file)
        path = Path(weights)
        if path.exists():
            return self._found(path / self.file) if path.is_dir() else path
        if not is_hub_id(weights):
            raise UserError(self._advice(f"no weights of {self.extractor} at {weights}"))
        owner, name, *inside = weights.split("/")
        return self._fetched(f"{owner}/{name}", "/".join(inside) or self.file)

    def _found(self, path: Path) -> Path:
        if not path.is_file():
            raise UserError(self._advice(f"{self.extractor} has no weights at {path}"))
        return path

    def _fetched(self, repository: str, file: str) -> Path:
        from huggingface_hub import hf_hub_download  # only hub ids need it

        try:
            return Path(hf_hub_download(repository, file))
        except (OSError, ValueError) as error:
            log.debug("hf_hub_download failed for %s", repository, exc_info=error)
            raise UserError(
                self._advice(f"{file} of {repository} is neither in the local hub cache nor can it be fetched")
            ) from error

    def _advice(self, fault: str) -> str:
        return (
            f"{fault}: fetch {self.file} ({self.project}) and put it at {FOLDER / self.file}, "
            f"or name your copy with --weights {self.extractor}=PATH"
        )


PANNS_RELEASE = "record 3987831 of Zenodo, PANNs"
VGGISH = Published("vggish", "vggish-10086976.pth", "release v0.1 of harritaylor/torchvggish on GitHub")
PASST = Published("passt", "passt-s-f128-p16-s10-ap.476-swa.pt", "release v0.0.1-audioset of kkoutini/PaSST on GitHub")
PANNS = Published("panns", "Cnn14_mAP=0.431.pth", PANNS_RELEASE)
PANNS16 = Published("panns16", "Cnn14_16k_mAP=0.438.pth", PANNS_RELEASE)
OPENL3 = Published("openl3", "openl3_audio_mel256_env-v0_4_0.h5.gz", "branch models of marl/openl3 on GitHub")
CLAP_FOLDER = FOLDER / "clap"  # a folder in transformers' layout
CLAP630K_FOLDER = FOLDER / "clap630k"  # likewise


def is_hub_id(name: str) -> bool:
    """Whether a name that is no existing path reads as owner/name or owner/name/file."""
    parts = name.split("/")
    if name.startswith((".", "/", "~")) or len(parts) < 2 or not all(parts):
        return False
    return not parts[1].endswith(SUFFIXES)


def read_weights(path: Path, under: str | None = None) -> StateDict:
    """Tensors by name of a safetensors file, or of a torch file, there `under` a key if given. Raises UserError."""
    from safetensors import SafetensorError

    from soundctm.checkpoints.torch_files import read_state_dict
    from soundctm.files.tensors import load_tensors

    if path.suffix != ".safetensors":
        return read_state_dict(path, under)
    try:
        return load_tensors(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is not a safetensors file, or it is cut off or damaged: {error}") from error


def sha256(files: Iterable[Path]) -> str:
    """Hex digest of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()
