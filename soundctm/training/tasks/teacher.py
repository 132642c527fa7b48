"""Training of the teacher: an EDM denoiser with text dropout and an average of its weights.

loss = mean (sigma^2 + sigma_data^2) / (sigma sigma_data)^2 |D(z_0 + sigma eps, sigma) - z_0|^2,
ln sigma ~ N(sigma_mean, sigma_std^2)                                    (EDM, table 1 and section 5)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from soundctm.checkpoints import load_network, save_checkpoint, save_network
from soundctm.checkpoints.assemble import write_made_with
from soundctm.checkpoints.layout import INDEX, read_json
from soundctm.checkpoints.limits import check_config, check_network
from soundctm.checkpoints.stored import UNUSABLE
from soundctm.config import option
from soundctm.denoisers import TeacherDenoiser
from soundctm.ema import update_ema
from soundctm.errors import UserError
from soundctm.files import whole_folder
from soundctm.losses import l2
from soundctm.networks import backbone
from soundctm.places import shipped
from soundctm.schedule import SigmaSchedule, append_dims
from soundctm.text import TextConditioning
from soundctm.training.inputs.batches import Batch, LatentRows
from soundctm.training.inputs.resident import Numbers
from soundctm.training.inputs.rows import device_generator, generators, normal
from soundctm.training.inputs.source import SourceConfig, check_source
from soundctm.training.running import loop
from soundctm.training.running.options import RunConfig, start_accelerator
from soundctm.training.running.schedule import Schedule
from soundctm.training.running.start import start_from
from soundctm.training.tasks.diffusion import HELD_OUT_SEED, DiffusionTask
from soundctm.training.tasks.task import Moment, Outcome, trained_parameters

DTYPES = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}
SAMPLE_STEPS = (10,)  # levels of the teacher's sampler for the clips written at validations


@dataclass(frozen=True)
class TeacherConfig(SourceConfig, RunConfig):
    """Options of `ctm_train.py teacher`."""

    unet_model_config: str = option(
        "configs/mini/unet.json", "configuration of the network in diffusers' form", aliases=("network_config",)
    )
    init: str | None = option(None, "folder of a teacher whose weights the training starts from; none: fresh ones")
    output_dir: str = option("exp/teacher", "where checkpoints, log, samples and the finished teacher go")
    sigma_min: float = option(0.002, "lowest noise level", above=0)
    sigma_max: float = option(80.0, "highest noise level", above=0)
    rho: float = option(7.0, "warp of the noise grid", above=0)
    sigma_data: float = option(0.25, "standard deviation of the latents", above=0)
    sigma_mean: float = option(-1.2, "mean of ln(sigma) in training")
    sigma_std: float = option(1.2, "standard deviation of ln(sigma) in training", above=0)
    uncond_prob: float = option(0.1, "share of captions dropped", low=0, high=1)
    per_device_train_batch_size: int = option(
        32, "clips per micro-batch and process", aliases=("batch_size",), low=1, high=65_536
    )
    max_train_steps: int = option(3000, "training steps; the learning rate ends at zero", low=1)
    lr: float = option(5e-4, "peak learning rate of AdamW", aliases=("learning_rate",), above=0)
    warmup_steps: int = option(100, "steps of linear warm-up", low=0)
    weight_decay: float = option(0.01, "decoupled weight decay", low=0)
    ema: float = option(0.999, "decay of the weight average, reached gradually", low=0, high=1)
    grad_clip: float = option(1.0, "largest gradient norm", above=0)
    export_early: bool = option(False, "write the teacher at every validation, to try it meanwhile")
    export_dtype: str = option("float32", "number format of the written teacher", choices=tuple(DTYPES))
    gradient_checkpointing: bool = option(False, "recompute activations: less memory, more time")
    compile: bool = option(False, "torch.compile the network, which pays on a GPU after a minute")
    device_noise: bool = option(False, "draw noise on the device, which is faster; it then depends on the device")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_source(self)

    @property
    def schedule(self) -> SigmaSchedule:
        """The noise levels."""
        return SigmaSchedule(self.sigma_min, self.sigma_max, self.rho, self.sigma_data)


class TeacherObjective(torch.nn.Module):
    """The denoiser with its loss, so that the forward pass of a distributed step goes through one module."""

    def __init__(self, denoiser: TeacherDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(
        self, latents: torch.Tensor, sigma: torch.Tensor, noise: torch.Tensor, hidden: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Weighted squared error per sample [B] at levels sigma [B]."""
        noisy = latents + append_dims(sigma, latents.ndim) * noise
        estimate = self.denoiser(noisy, sigma, TextConditioning(hidden, mask))
        return self.denoiser.schedule.weight("karras_weight", sigma) * l2(estimate, latents)


class TeacherTask(DiffusionTask):
    """The teacher, its average and its optimiser."""

    name, metric = "teacher", "validation_loss"
    config: TeacherConfig

    def __init__(self, config: TeacherConfig) -> None:
        # a wrong path shows before clips are encoded
        shape = read_json(Path(shipped(config.unet_model_config)))
        check_config(shape, Path(config.unet_model_config))
        kind = backbone(shape, config.unet_model_config).teacher
        check_network(shape, kind, Path(config.unet_model_config))
        init = load_network(config.init, "teacher") if config.init else None
        super().__init__(config, start_accelerator(config))
        torch.manual_seed(config.seed)
        try:
            network = kind.for_text(shape, self.text_dim)
        except UNUSABLE as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            raise UserError(f"{config.unet_model_config} describes no usable network: {reason}") from error
        network.check_latents(self.source.data.shape)
        if init is not None:
            start_from(network, init, config.init)
        self.freeze_idle(network)
        self.objective = TeacherObjective(TeacherDenoiser(network, config.schedule)).to(self.device)
        if self.device.type == "cuda":
            self.objective.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.objective).eval().requires_grad_(False)
        if config.gradient_checkpointing:
            network.enable_gradient_checkpointing()
        if config.compile:
            network.compile()  # in place: the names of its weights stay
        self.model, self.peak_rate, self.grad_clip = self.objective, config.lr, config.grad_clip
        self.optimizer = torch.optim.AdamW(
            trained_parameters(self.model), lr=config.lr, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        self.parts = {"model": self.model, "average": self.average, "optimizer": self.optimizer}
        self.schedule = Schedule(config.max_train_steps, config.warmup_steps, config.max_minutes)

    def outcome(self, batch: LatentRows | Numbers, moment: Moment) -> Outcome:
        self.model.train()
        config = self.config
        if config.device_noise:
            draws = device_generator(config.seed, moment.step, batch.rows, self.device)
        else:
            draws = generators(config.seed, moment.step, batch.rows)
        return Outcome(edm_loss(self.model, self.with_text(batch), config, draws).mean())

    def updated(self, moment: Moment) -> None:
        update_ema(self.average, self.objective, min(self.config.ema, (1 + moment.step) / (10 + moment.step)))

    def held_out_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        draws = generators(HELD_OUT_SEED, 0, batch.rows)
        return {"validation_loss": edm_loss(self.average, batch, self.config, draws).mean()}

    def write_samples(self, folder: Path | None) -> dict[str, float]:
        if self.config.export_early and folder is not None:
            self.export()
        return self.sampled(folder, SAMPLE_STEPS, teacher=self.average.denoiser.network)

    @property
    def result(self) -> Path:
        return Path(self.config.output_dir) / "teacher"

    @property
    def replaced(self) -> dict[Path, str]:
        return {self.result: "config.json", self.result.with_name("model"): INDEX}

    def export(self) -> None:
        with whole_folder(self.result, replace=True, mark="config.json") as folder:
            save_network(folder, self.average.denoiser.network, DTYPES[self.config.export_dtype])
            write_made_with(folder, self.made_with)
        if self.codec is not None and self.codec.can_decode:  # then it can be heard
            model = self.components(teacher=self.average.denoiser.network)
            save_checkpoint(self.result.with_name("model"), model, dtype=torch.float16, overwrite=True)


def train(config: TeacherConfig) -> Path:
    """Train, then write the averaged teacher to `<output_dir>/teacher` (diffusers' form) and return that path.

    Where the codec has a vocoder, `<output_dir>/model` is a checkpoint folder for `ctm_inference.py --weights teacher`.
    """
    return loop.train(TeacherTask, config)


def edm_loss(
    model: torch.nn.Module, batch: Batch, config: TeacherConfig, draws: Sequence[torch.Generator] | torch.Generator
) -> torch.Tensor:
    """Loss per sample [B]; level and noise of each row come from its own generator on the CPU, or of all from one."""
    shape = batch.latents.shape
    if isinstance(draws, torch.Generator):
        levels = torch.randn(shape[0], generator=draws, device=draws.device)
        noise = torch.randn(shape, generator=draws, device=draws.device)
    else:
        levels, noise = normal((), draws), normal(shape[1:], draws)
    sigma = (config.sigma_mean + config.sigma_std * levels).exp()
    device = batch.latents.device
    return model(batch.latents, sigma.to(device), noise.to(device), batch.text.hidden, batch.text.mask)
