"""The pipeline without its call: its components, where they come from and go to, where they lie and compute."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from tqdm.auto import tqdm

from soundctm.acceleration import Compiled, compile_pipeline, decoders, lay_out, use_int8, why_no_int8
from soundctm.audioldm.errors import CodecError
from soundctm.audioldm.library import DiffusionPipeline
from soundctm.checkpoints import Components, load_checkpoint, save_checkpoint
from soundctm.checkpoints.card import model_card
from soundctm.codecs import Codec
from soundctm.defaults import Defaults
from soundctm.denoisers import StudentDenoiser, TeacherDenoiser
from soundctm.devices import default_device
from soundctm.errors import UserError
from soundctm.networks import Network
from soundctm.networks.base import hooked
from soundctm.schedule import SigmaSchedule
from soundctm.text import TextEncoder

COMPONENTS = ("network", "codec", "text_encoder", "schedule")


class Assembled(DiffusionPipeline):
    """A network (student or teacher), a codec, a text encoder and a noise schedule.

    Moving, offloading, number formats, components and the progress bar are those of diffusers' pipelines.
    """

    model_cpu_offload_seq = "text_encoder->network->codec"
    _callback_tensor_inputs = ["latents"]

    def __init__(
        self,
        network: Network,
        codec: Codec,
        text_encoder: TextEncoder,
        schedule: SigmaSchedule,
        weights: str = "ema",
        sampling: Defaults | Mapping[str, Any] | None = None,
        training_config: Mapping[str, Any] | None = None,
    ) -> None:
        """`weights` says what the network is: "ema", "student" or "teacher". `sampling` are its defaults.

        Raises UserError for a network that cannot take the codec's latents.
        """
        super().__init__()
        if not isinstance(sampling, Defaults):
            sampling = Defaults.of_index(sampling, "sampling")
        try:
            network.check_latents(codec.latent_shape(sampling.seconds))
        except CodecError as error:  # a clip that is shorter than a latent frame
            raise UserError(error) from error
        network.eval().requires_grad_(False)
        self.register_modules(network=network, codec=codec, text_encoder=text_encoder, schedule=schedule)
        self.weights, self.defaults, self.training_config = weights, sampling, training_config
        self.register_to_config(weights=weights, sampling=sampling.to_json())
        self.card: str | None = None  # the model card of the folder that it was read from
        self.text_stored = False  # did that folder hold the text encoder's weights?
        self._interrupt = False
        self.compiled: Compiled | None = None
        self.quantized = False  # to int8

    def register_modules(self, **modules: Any) -> None:
        """Keep the components; the configuration holds the names of their classes."""
        for name, module in modules.items():
            setattr(self, name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in COMPONENTS:  # the library's own way imports a pipeline of its own that is called as our codec is
            self.register_to_config(**{name: (type(value).__module__, type(value).__name__)})
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def to(self, *arguments: Any, dtype: torch.dtype | None = None, **options: Any) -> Self:
        """Move to a device, network and codec also to a number format; the text encoder stays float32.

        It runs once per caption, and T5 overflows in float16. `torch.int8` is `quantize`. Raises ValueError for two
        number formats, and UserError for an int8 pipeline, which stays as it is.
        """
        formats = [value for value in (*arguments, dtype) if isinstance(value, torch.dtype)]
        if len(formats) > 1:
            raise ValueError(f"to() got {len(formats)} number formats; give one")
        places = [value for value in arguments if not isinstance(value, torch.dtype)]
        if self.quantized and (formats or any(torch.device(place).type != "cpu" for place in places)):
            raise UserError("a pipeline of int8 stays on the CPU and in its number format; load another one")
        super().to(*places, **options)
        if formats == [torch.int8]:
            return self.quantize()
        for wanted in formats:
            torch.nn.Module.to(self.network, wanted)
            self.codec.in_dtype(wanted)
        lay_out(self.network, self.codec, self.device, self.text_encoder)
        return self

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: torch.device | str | None = None) -> None:
        """Text encoder, network and codec take turns on a GPU and wait in main memory; each as it is fastest there.

        Raises UserError for an int8 pipeline, and where no `device` is given and there is no GPU to take turns on.
        """
        if self.quantized:
            raise UserError("a pipeline of int8 stays on the CPU; load another one")
        wanted = torch.device(default_device() if device is None else device)
        if device is None and wanted.type == "cpu":
            raise UserError("there is no GPU here on which parts could take turns")
        super().enable_model_cpu_offload(gpu_id, wanted)
        lay_out(self.network, self.codec, wanted, self.text_encoder)

    def quantize(self) -> Self:
        """Let network and decoder compute on whole numbers of 8 bits from now on, in place, on CPUs made for it.

        Weights take a quarter of float32's memory; docs/performance.md says what it gains and loses. Sounds are still
        encoded in floats. Such a pipeline has no gradients (`control`), is not compiled, and cannot be saved. Raises
        UserError where the CPU has no exact products of 8 bits.
        """
        if self.quantized:
            return self
        if (reason := why_no_int8(self.device)) is not None:
            raise UserError(f"no int8 here: {reason}")
        lay_out(self.network, self.codec, self.device, self.text_encoder, half=True)
        for part in (self.network, *decoders(self.codec)):
            use_int8(part)
        self.quantized = True
        return self

    @classmethod
    def from_parts(cls, parts: Components, weights: str = "ema", device: torch.device | str | None = None) -> Self:
        """The network called `weights` of a loaded checkpoint with its codec and text encoder, on `device`.

        Raises UserError for parts that are missing.
        """
        if parts.codec is None or parts.text_encoder is None:
            raise UserError("a pipeline needs a codec and a text encoder; this checkpoint lacks one of them")
        network = parts.network(weights)
        pipe = cls(
            network, parts.codec, parts.text_encoder, parts.schedule, weights, parts.sampling, parts.training_config
        )
        pipe.card, pipe.text_stored = parts.card, parts.text_stored
        return pipe.to(device or default_device(), silence_dtype_warnings=True)

    @classmethod
    def from_pretrained(
        cls,
        path: str | os.PathLike,
        weights: str = "ema",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        torch_dtype: torch.dtype | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        token: str | bool | None = None,
        local_files_only: bool | None = None,
    ) -> Self:
        """The checkpoint in a folder, the one called "mini", or that of a hub id.

        weights: "ema" (default), "student" or "teacher". device: the best there is, unless given. dtype of network and
        codec (`torch_dtype` is its older name): float32, bfloat16, float16, or int8 (`quantize`); the text encoder
        stays float32.
        revision, cache_dir, token, local_files_only: of a hub id. Nothing in a checkpoint is ever run.
        Raises UserError for what is no checkpoint or lacks `weights`.
        """
        if dtype is not None and torch_dtype is not None:
            raise UserError("dtype and torch_dtype are two names of one thing; give one of them")
        hub = {"revision": revision, "cache_dir": cache_dir, "token": token, "local_files_only": local_files_only}
        wanted = dtype or torch_dtype or torch.float32
        stored = torch.float32 if wanted == torch.int8 else wanted
        pipe = cls.from_parts(load_checkpoint(path, weights, dtype=stored, hub=hub), weights, device)
        return pipe.quantize() if wanted == torch.int8 else pipe

    def save_pretrained(
        self,
        folder: str | os.PathLike,
        dtype: torch.dtype | None = None,
        *,
        overwrite: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **hub: Any,
    ) -> None:
        """Write a checkpoint folder with a model card, in `dtype` on disk; `push_to_hub` uploads it as well.

        An older checkpoint is replaced with `overwrite`. Weights are always safetensors. Raises UserError.
        """
        if not safe_serialization or variant is not None:
            raise UserError("checkpoints are safetensors without variants; dtype says in which number format")
        if self.quantized:
            raise UserError("a pipeline of int8 cannot be saved; save the one in floats that it was made of")
        parts = self.components_of_checkpoint()
        save_checkpoint(folder, parts, dtype=dtype, model_card=model_card(parts, self.card), overwrite=overwrite)
        if push_to_hub:
            self._upload(folder, repo_id or Path(folder).absolute().name, **hub)

    def push_to_hub(self, repo_id: str, *, dtype: torch.dtype | None = None, **hub: Any) -> str:
        """Upload the checkpoint folder with its model card to a model hub; returns the commit's address.

        hub: commit_message, private, token, create_pr, as of diffusers.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "model")
            self.save_pretrained(folder, dtype)
            return self._upload(folder, repo_id, **hub)

    def _upload(
        self,
        folder: str | os.PathLike,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
    ) -> str:
        from huggingface_hub import create_repo

        repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        return self._upload_folder(folder, repo_id, token, commit_message, create_pr)

    def components_of_checkpoint(self) -> Components:
        """What `save_checkpoint` writes."""
        return Components(
            **{self.weights: self.network}, codec=self.codec, text_encoder=self.text_encoder, schedule=self.schedule,
            sampling=self.defaults, training_config=self.training_config, text_stored=self.text_stored,
        )  # fmt: skip

    def progress_bar(self, iterable: Iterable | None = None, total: int | None = None) -> tqdm:
        """A bar as `set_progress_bar_config` wants it. (The library's own would import torch's compiler: seconds.)"""
        return tqdm(iterable, total=total, **getattr(self, "_progress_bar_config", {}))

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the network."""
        return self.network.dtype

    @property
    def _execution_device(self) -> torch.device:
        """Where the network computes. (The library's own answer takes milliseconds, and is needed for hooks alone.)"""
        parts = [part for part in self.components.values() if isinstance(part, torch.nn.Module)]
        return super()._execution_device if any(map(hooked, parts)) else self.network.last_weight.device

    @property
    def denoiser(self) -> StudentDenoiser | TeacherDenoiser:
        """The network with the scalings of the schedule around it."""
        known = self.__dict__.get("_denoiser")
        if known is None or known.network is not self.network or known.schedule is not self.schedule:
            kind = TeacherDenoiser if self.weights == "teacher" else StudentDenoiser
            known = self._denoiser = kind(self.network, self.schedule).eval()
        return known

    def compile(self, mode: str = "graphs") -> Compiled:
        """Make calls cheaper that come again in the same shape: "graphs" or "inductor" (`soundctm.acceleration`).

        The first call of each shape then takes seconds longer, or a minute with "inductor". What this machine cannot
        do is left out with a line in the log; clips stay the same up to rounding. Raises UserError when called twice.
        """
        if self.compiled is not None:
            raise UserError(f"this pipeline is compiled already ({self.compiled.mode})")
        if self.quantized:
            raise UserError("a pipeline of int8 is not compiled; compile another one")
        self.compiled = compile_pipeline(self, mode)
        return self.compiled

    @property
    def interrupt(self) -> bool:
        """Has a callback asked for the end (`pipe._interrupt = True`)?"""
        return self._interrupt
