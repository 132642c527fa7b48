"""Reading OpenL3's weights from each form in which they are published.

openl3_audio_mel256_env-v0_4_0.h5.gz    Keras weights as openl3 0.4 fetches them, compressed or not (needs h5py)
torchopenl3_mel256_env_512.pth.tar      those of torchopenl3; what its front end adds is left out
openl3.safetensors                      ours, for machines without h5py:

python -m soundctm.evaluation.extractors.openl3_files openl3_audio_mel256_env-v0_4_0.h5.gz openl3.safetensors
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from soundctm.checkpoints.torch_files import StateDict
from soundctm.command import Parser, exit_code
from soundctm.errors import UserError
from soundctm.evaluation.extractors.weights import read_weights
from soundctm.files import write_whole

MOST_BYTES = 256 * 2**20  # the published files hold 19 MB
LAYERS = tuple(kind for number in range(8) for kind in (f"norms.{number}", f"convs.{number}"))  # in their order
KERAS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "kernel": "weight",
    "bias": "bias",
}
FRONT_END = "speclayer."  # STFT and mels as weights


def read_openl3(path: Path) -> StateDict:
    """The weights under our names. Raises UserError for a file that is none of the forms above."""
    state = _keras(path) if path.name.endswith((".h5", ".h5.gz", ".hdf5")) else _torch(path)
    for name in LAYERS[::2]:
        state.setdefault(f"{name}.num_batches_tracked", torch.tensor(0))  # a counter of training that torch wants
    return state


def _torch(path: Path) -> StateDict:
    """Ours as they are; torchopenl3's renamed: its layers are counted from 1, the last one has a name."""
    state = {}
    for key, value in read_weights(path).items():
        if key.startswith(FRONT_END):
            continue
        key = key.replace("audio_embedding_layer.", "conv2d_8.")
        if found := re.fullmatch(r"(batch_normalization|conv2d)_(\d+)\.(\w+)", key):
            kind, number, rest = found.groups()
            key = f"{'convs' if kind == 'conv2d' else 'norms'}.{int(number) - 1}.{rest}"
        state[key] = value
    return state


def _keras(path: Path) -> StateDict:
    """Keras counts layers anew in every process, so they are told by their order, tensors within one by their names."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f"reading {path} needs the package h5py: pip install h5py, or convert it where that is installed "
            "(python -m soundctm.evaluation.extractors.openl3_files)"
        ) from error
    state: StateDict = {}
    try:
        with h5py.File(io.BytesIO(_content(path)), "r") as file:
            layers = [layer for layer in _texts(file.attrs["layer_names"]) if len(file[layer].attrs["weight_names"])]
            if len(layers) != len(LAYERS):
                raise UserError(f"{path} holds {len(layers)} layers with weights; OpenL3 has {len(LAYERS)}")
            for ours, layer in zip(LAYERS, layers, strict=True):
                for name in _texts(file[layer].attrs["weight_names"]):
                    kind = name.rsplit("/", 1)[-1].removesuffix(":0")
                    value = torch.from_numpy(file[layer][name][()])
                    state[f"{ours}.{KERAS.get(kind, kind)}"] = _as_torch(value)
    except UserError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise UserError(f"{path} is no file of Keras weights, or it is cut off or damaged: {error}") from error
    return state


def _as_torch(value: Tensor) -> Tensor:
    """Keras has a convolution's kernel as [height, width, in, out], torch as [out, in, height, width]."""
    return value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value


def _texts(names: Sequence[bytes | str]) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _content(path: Path) -> bytes:
    """The file, unpacked where it is compressed. Raises UserError when it cannot be, or is far too large."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read, or it is cut off or damaged: {error}") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} holds more than {MOST_BYTES // 2**20} MiB; OpenL3's weights are 19 MB")
    return content


def main(arguments: Sequence[str]) -> int:
    """Writes a published file as safetensors."""
    prog = "python -m soundctm.evaluation.extractors.openl3_files"
    parser = Parser(prog=prog, description=main.__doc__)
    parser.add_argument("published", type=Path, help="the .h5, .h5.gz or .pth.tar")
    parser.add_argument("output", type=Path, help="the .safetensors to write")
    options = parser.parse_args(arguments)
    return exit_code(lambda: convert(options.published, options.output))


def convert(published: Path, output: Path) -> None:
    """Read one form and write ours. Raises UserError as `read_openl3`, and for another ending of `output`."""
    if output.suffix != ".safetensors":
        raise UserError(f"output is {output}; it must end in .safetensors")
    if not published.is_file():
        raise UserError(f"no file of weights at {published}")
    write_whole(output, save(read_openl3(published)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
