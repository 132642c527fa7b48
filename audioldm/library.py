"""What the networks here are made of, out of diffusers and transformers, imported without what is not used.

`from diffusers import UNet2DConditionModel` also imports every other network of diffusers, its LoRA loaders with the
quantisers of transformers, scipy, and torch's compiler and sharding with sympy: several seconds at the start of every
command. Nothing of that is needed to run a UNet or a VAE. So, while the modules below are imported for the first time,

- packages that import all of their modules are bare, and only the modules asked for are executed;
- names out of some large packages are promises: the package is imported when one of them is used;
- what is marked for torch's compiler is marked without importing it.

Afterwards everything is as it was: who imports those packages later gets them whole.

Where peft or torchvision are installed, the libraries import those, too, and these look into all that is
left out here; there everything is imported whole from the beginning.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

T = TypeVar("T")
log = logging.getLogger(__name__)
WHOLESALE = ("diffusers.models.transformers", "diffusers.models.unets", "diffusers.models.autoencoders")
PROMISED = (  # names of these are for other models, or for tensors and training over several machines
    "scipy.integrate",
    "scipy.optimize",
    "scipy.stats",
    "torch.distributed.tensor",
    "transformers.distributed.checkpoint",
    "transformers.distributed.expert_parallel",
    "transformers.distributed.fsdp",
    "transformers.distributed.sharding_utils",
    "transformers.distributed.tensor_parallel",
    "transformers.generation.continuous_batching",
)
COMPILER = "torch._dynamo"
CURIOUS = ("peft", "torchvision")  # packages that the libraries import where they are installed


@contextlib.contextmanager
def sparingly() -> Iterator[None]:
    """Import modules of diffusers and transformers in the block without their neighbours and torch's compiler."""
    with contextlib.ExitStack() as stack:
        if COMPILER not in sys.modules:
            stack.enter_context(_standing_in(COMPILER, _as_package(_Marks(COMPILER))))
        for name in PROMISED:
            if name not in sys.modules:
                stack.enter_context(_standing_in(name, _Promises(name)))
        stack.callback(_forget_promises)
        finder = _Inside()
        sys.meta_path.insert(0, finder)
        stack.callback(sys.meta_path.remove, finder)
        for name in WHOLESALE:
            if name not in sys.modules:
                stack.enter_context(_standing_in(name, _as_package(types.ModuleType(name))))
        yield


@contextlib.contextmanager
def _standing_in(name: str, module: types.ModuleType) -> Iterator[None]:
    sys.modules[name] = module
    try:
        yield
    finally:
        if sys.modules.get(name) is module:
            del sys.modules[name]


class _Promises(types.ModuleType):
    """In the place of a module: each of its names is a class that stands for the real thing (`_Promise`)."""

    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks for some
            raise AttributeError(name)
        promise = _Promise(name, (), {"_origin": self.__name__})
        setattr(self, name, promise)
        return promise


class _Inside:
    """Finds the modules inside of those that are promised: they are promised, too."""

    def find_spec(self, name: str, path: object = None, target: object = None):
        above = sys.modules.get(name.rpartition(".")[0])
        return importlib.util.spec_from_loader(name, self) if isinstance(above, _Promises) else None

    def create_module(self, spec) -> types.ModuleType:
        return _Promises(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to execute."""


def _forget_promises() -> None:
    """Let the import system find the real modules."""
    for name in [name for name, module in sys.modules.items() if isinstance(module, _Promises)]:
        del sys.modules[name]


class _Promise(type):
    """Called, or asked for an attribute, it imports the real thing. Nothing can be an instance of what is not there."""

    def _kept(cls) -> Any:
        _forget_promises()
        return getattr(importlib.import_module(cls._origin), cls.__name__)

    def __call__(cls, *args, **kwargs):
        return cls._kept()(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(cls._kept(), name)

    def __instancecheck__(cls, value: object) -> bool:
        module = sys.modules.get(cls._origin)
        return not isinstance(module, _Promises | None) and isinstance(value, getattr(module, cls.__name__))


class _Marks(types.ModuleType):
    """In the place of torch's compiler: what libraries tell it about their functions when they are imported.

    `allow_in_graph` tells it not to look into a class, which it may do as well. Anything else that is asked for
    imports the compiler.
    """

    def allow_in_graph(self, marked: T) -> T:
        return marked

    def assume_constant_result(self, function: T) -> T:
        function._dynamo_marked_constant = True
        return function

    def disable(self, function: Callable | None = None, recursive: bool = True, *, reason: str | None = None, **_: Any):
        """Keep the compiler out of `function`; it is told so at the first call."""
        if function is None:
            return lambda given: self.disable(given, recursive, reason=reason)
        told: list[Callable] = []

        @functools.wraps(function)
        def disabled(*args, **kwargs):
            if not told:
                self._leave()
                told.append(torch.compiler.disable(function, recursive, reason=reason))
            return told[0](*args, **kwargs)

        return disabled

    def _leave(self) -> None:
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        self._leave()
        return getattr(importlib.import_module(COMPILER), name)


def _as_package(module: types.ModuleType) -> types.ModuleType:
    """`module`, whose name is a package's, so that the modules of that package are found in it."""
    root, *inner = module.__name__.split(".")
    places = importlib.util.find_spec(root).submodule_search_locations
    module.__path__ = [os.path.join(place, *inner) for place in places]
    return module


NEEDED = (
    "diffusers.configuration_utils",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.embeddings",
    "diffusers.models.modeling_outputs",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.pipelines.pipeline_utils",
    "transformers.models.speecht5.modeling_speecht5",
)

try:
    if not any(importlib.util.find_spec(name) for name in CURIOUS):
        with sparingly():
            for _name in NEEDED:
                importlib.import_module(_name)
except (ImportError, RuntimeError, AttributeError, TypeError) as error:  # a version of the libraries that needs more
    log.info("diffusers is imported whole: %s", error)

from diffusers.configuration_utils import ConfigMixin, register_to_config  # noqa: E402
from diffusers.models.attention_processor import Attention, AttnProcessor2_0  # noqa: E402
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL  # noqa: E402
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution  # noqa: E402
from diffusers.models.embeddings import TimestepEmbedding, Timesteps  # noqa: E402
from diffusers.models.modeling_outputs import AutoencoderKLOutput  # noqa: E402
from diffusers.models.modeling_utils import ModelMixin  # noqa: E402
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # noqa: E402
from diffusers.pipelines.pipeline_utils import DiffusionPipeline  # noqa: E402
from diffusers.utils.accelerate_utils import apply_forward_hook  # noqa: E402
from diffusers.utils.outputs import BaseOutput  # noqa: E402
from transformers.models.speecht5.configuration_speecht5 import SpeechT5HifiGanConfig  # noqa: E402
from transformers.models.speecht5.modeling_speecht5 import SpeechT5HifiGan  # noqa: E402

__all__ = [
    "Attention",
    "AttnProcessor2_0",
    "AutoencoderKL",
    "AutoencoderKLOutput",
    "BaseOutput",
    "ConfigMixin",
    "DecoderOutput",
    "DiagonalGaussianDistribution",
    "DiffusionPipeline",
    "ModelMixin",
    "SpeechT5HifiGan",
    "SpeechT5HifiGanConfig",
    "TimestepEmbedding",
    "Timesteps",
    "UNet2DConditionModel",
    "apply_forward_hook",
    "register_to_config",
    "sparingly",
]
