"""What a call of the pipeline asks for, and of that one row per clip: prompts, what to stay away from, generators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from soundctm.control.control import Control
from soundctm.defaults import SEED, Omega
from soundctm.editing.sampling import Blend
from soundctm.errors import UserError
from soundctm.pipeline.callbacks import TENSORS, Callback
from soundctm.ranking import RANKS, Agreement
from soundctm.seeds import clip_seed, clip_seeds

Texts = str | Sequence[str]
Generators = torch.Generator | Sequence[torch.Generator] | None
OUTPUT_TYPES = ("np", "pt", "latent")


@dataclass(frozen=True)
class Request:
    """The arguments of `SoundCTMPipeline.__call__`, which says what they mean. Raises UserError for impossible ones."""

    prompt: Texts
    num_inference_steps: int | None = None
    negative_prompt: Texts | None = None
    num_waveforms_per_prompt: int = 1
    sampler: str | None = None
    omega: Omega = None
    nu: float | None = None
    gamma: float | None = None
    seed: int | Sequence[int] = SEED
    generator: Generators = None
    latents: torch.Tensor | None = None
    batch_size: int | None = None
    blend: Blend | None = None
    control: Control | None = None
    loop: bool = False
    rank: str | None = None
    agreement: Agreement | None = None
    output_type: str = "np"
    return_dict: bool = True
    callback_on_step_end: Callback | None = None
    callback_on_step_end_tensor_inputs: Sequence[str] = TENSORS

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise UserError(f"the batch size is {self.batch_size}; it must be at least 1")
        if self.rank is not None and self.rank not in RANKS:
            raise UserError(f"rank is {self.rank!r}; it must be one of {', '.join(RANKS)}")
        if self.output_type not in OUTPUT_TYPES:
            raise UserError(f"output_type is {self.output_type!r}; it must be one of {', '.join(OUTPUT_TYPES)}")
        if self.rank is not None and self.output_type == "latent":
            raise UserError("latents cannot be ranked; give output_type 'np' or 'pt'")
        unknown = [name for name in self.callback_on_step_end_tensor_inputs if name not in TENSORS]
        if unknown:
            raise UserError(f"callback_on_step_end cannot have {unknown[0]!r}; it can have {', '.join(TENSORS)}")

    def rows(self) -> Rows:
        """One row per clip. Raises UserError."""
        return rows_of(self.prompt, self.num_waveforms_per_prompt, self.seed, self.generator, self.negative_prompt)


@dataclass(frozen=True)
class Rows:
    """The clips of a call. The candidates of a prompt follow each other."""

    prompts: list[str]
    negatives: list[str] | None  # None: nothing to stay away from
    generators: list[torch.Generator]
    seeds: list[int] | None  # where seeds made the generators

    def part(self, rows: slice) -> Rows:
        """Some of them."""
        return Rows(*(None if v is None else v[rows] for v in vars(self).values()))


def rows_of(
    prompt: Texts, candidates: int, seed: int | Sequence[int], generator: Generators, negative_prompt: Texts | None
) -> Rows:
    """The rows of `candidates` clips per prompt. Raises UserError."""
    prompts = texts(prompt, "prompt")
    if not prompts:
        raise UserError("there are no prompts; give at least one caption")
    if candidates < 1:
        raise UserError(f"{candidates} waveforms per prompt; at least 1 can be made")
    negatives = None
    if negative_prompt is not None:
        negatives = texts(negative_prompt, "negative_prompt")
        if isinstance(negative_prompt, str):
            negatives = negatives * len(prompts)
        if len(negatives) != len(prompts):
            raise UserError(f"{len(negatives)} negative prompts for {len(prompts)} prompts; give one, or as many")
    seeds = None if generator is not None else seeds_of(prompts, seed, candidates)
    each = [text for text in prompts for _ in range(candidates)]
    return Rows(
        each,
        None if negatives is None else [text for text in negatives for _ in range(candidates)],
        generators_of(len(each), seeds, generator),
        seeds,
    )


def texts(given: Texts, name: str) -> list[str]:
    """A text or texts as a list. Raises UserError for anything else."""
    found = [given] if isinstance(given, str) else list(given) if isinstance(given, list | tuple) else None
    if found is None or not all(isinstance(text, str) for text in found):
        raise UserError(f"{name} is {str(given)[:80]!r}; it must be a text or a list of texts")
    return found


def seeds_of(prompts: Sequence[str], seed: int | Sequence[int], candidates: int) -> list[int]:
    """One seed per clip, the candidates of a prompt one after the other. A given seed is its first candidate's."""
    if isinstance(seed, int):
        return clip_seeds(seed, [prompt for prompt in prompts for _ in range(candidates)])
    given = list(seed)
    if len(given) != len(prompts):
        raise UserError(f"{len(given)} seeds for {len(prompts)} clips; give one number, or one per clip")
    return [number if k == 0 else clip_seed(number, "candidate", k) for number in given for k in range(candidates)]


def generators_of(count: int, seeds: Sequence[int] | None, generator: Generators) -> list[torch.Generator]:
    """One generator per clip. From one for several clips each gets a seed."""
    if seeds is not None:
        return [torch.Generator().manual_seed(number) for number in seeds]
    if isinstance(generator, torch.Generator):
        if count == 1:
            return [generator]
        drawn = torch.randint(2**62, (count,), generator=generator, device=generator.device)
        return [torch.Generator().manual_seed(number) for number in drawn.tolist()]
    given = list(generator)
    if len(given) != count:
        raise UserError(f"{len(given)} generators for {count} clips; give one, or one per clip")
    return given
