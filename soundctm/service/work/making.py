"""A batch through the pipeline, clip by clip as they are decoded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soundctm.defaults import NO_OMEGA, SamplingWarning
from soundctm.finite import check_sound
from soundctm.inference.finishing import finish, is_nearly_silent
from soundctm.service.work.batches import Row, made_seconds
from soundctm.service.work.jobs import Clip
from soundctm.service.work.wanted import Wanted, blend_of, control_of

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline

OnStep = Callable[[float], None]  # (share that is done); may raise, which ends the batch
DECODED_AT_ONCE = 8  # clips at most


def make_batch(pipe: SoundCTMPipeline, rows: Sequence[Row], on_step: OnStep) -> Iterator[tuple[Row, Clip]]:
    """The clips of `rows`, which `take_batch` put together. Raises UserError, and what `on_step` raises."""
    wanted = rows[0].job.wanted
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)  # they are with the clips
        made = _edited(pipe, rows, on_step) if wanted.edit is not None else _generated(pipe, rows, on_step)
        for row, audio in made:
            yield row, _clip(pipe, row, audio)


def _clip(pipe: SoundCTMPipeline, row: Row, audio: np.ndarray) -> Clip:
    wanted = row.job.wanted
    rate, cut = pipe.codec.sampling_rate, None if wanted.edit is not None or wanted.loop else wanted.seconds
    if cut is not None and wanted.control is not None:
        audio = audio[: round(cut * rate)]
    audio, _ = finish(audio, rate, cut)
    remarks = list(wanted.remarks)
    if is_nearly_silent(audio):
        remarks.append("there is nearly nothing to hear in this clip; another seed may help")
    return Clip(audio, rate, row.seed, remarks)


def _generated(pipe: SoundCTMPipeline, rows: Sequence[Row], on_step: OnStep) -> Iterator[tuple[Row, np.ndarray]]:
    wanted = rows[0].job.wanted
    seconds = made_seconds(wanted, pipe.codec)
    extra: dict[str, Any] = {}
    if wanted.blend is not None:
        extra["blend"] = blend_of(wanted.blend)
    if wanted.control is not None:
        extra["control"] = control_of(wanted.control, seconds or pipe.defaults.seconds or pipe.codec.default_seconds)
    made = pipe(
        seconds=seconds, loop=wanted.loop, output_type="latent", **extra, **_sampling(pipe, rows, on_step)
    )  # fmt: skip
    at_once = decoded_at_once(pipe.device.type)
    left = list(range(len(rows)))
    while left := [k for k in left if not rows[k].job.is_over]:  # of cancelled ones nothing is decoded
        part, left = left[:at_once], left[at_once:]
        audios = pipe.decode(made.latents[part], loop=wanted.loop).numpy()
        check_sound(audios, [rows[k].job.wanted.prompt for k in part], str(pipe.dtype).removeprefix("torch."))
        yield from zip([rows[k] for k in part], audios, strict=True)


def decoded_at_once(device: str) -> int:
    """Clips. On a CPU one per thread: more gain nothing, and each is heard as soon as it is there."""
    import torch

    return min(torch.get_num_threads(), DECODED_AT_ONCE) if device == "cpu" else DECODED_AT_ONCE


def _edited(pipe: SoundCTMPipeline, rows: Sequence[Row], on_step: OnStep) -> Iterator[tuple[Row, np.ndarray]]:
    edit = rows[0].job.wanted.edit
    options = _sampling(pipe, rows, on_step)
    prompts = options.pop("prompt")
    given = (prompts, edit.audio)
    strength = 1.0 if edit.strength is None else edit.strength
    if edit.operation == "vary":
        made = pipe.vary(*given, rate=edit.rate, strength=strength, **options)
    elif edit.operation == "inpaint":
        made = pipe.inpaint(
            *given, edit.regions, edit.rate, strength=strength, repeats=edit.repaint, **options
        )  # fmt: skip
    elif edit.operation == "extend":
        made = pipe.extend(*given, edit.rate, repeats=edit.repaint, **{edit.side: edit.seconds}, **options)
    elif edit.operation == "loop":
        made = pipe.make_loop(*given, edit.rate, seam=edit.seam, repeats=edit.repaint, **options)
    else:
        made = pipe.make_bands(*given, edit.bands, edit.rate, strength=strength, **options)
    yield from zip(rows, made.audios, strict=True)


def _sampling(pipe: SoundCTMPipeline, rows: Sequence[Row], on_step: OnStep) -> dict[str, Any]:
    """Arguments that all calls of the pipeline take."""
    wanted: Wanted = rows[0].job.wanted
    settings = wanted.settings
    calls = settings.steps * max(1, wanted.edit.repaint if wanted.edit else 1)

    def stepped(pipe: SoundCTMPipeline, step: int, level: Any, state: dict) -> None:
        on_step((step + 1) / (calls + 1))

    negatives = [row.job.wanted.negative_prompt for row in rows]
    return {
        "prompt": [row.job.wanted.prompt for row in rows],
        "num_inference_steps": settings.steps,
        "negative_prompt": [text or "" for text in negatives] if any(negatives) else None,
        "sampler": settings.sampler,
        "omega": NO_OMEGA if settings.omega is None else settings.omega,
        "nu": settings.nu,
        "gamma": settings.gamma,
        "seed": [row.seed for row in rows],
        "callback_on_step_end": stepped,
        "callback_on_step_end_tensor_inputs": (),
    }
