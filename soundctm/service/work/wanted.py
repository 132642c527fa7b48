"""What a job makes: a body of a request, checked against the limits and the model, with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from soundctm.defaults import NO_OMEGA, Settings, settle
from soundctm.errors import UserError
from soundctm.inference.refining import STEPS as REFINE_STEPS
from soundctm.service.bodies import BlendBody, ControlBody, EditBody, GenerateBody, Sampling

if TYPE_CHECKING:
    from soundctm.pipeline import SoundCTMPipeline
    from soundctm.service.settings import Settings as Service


class Refused(UserError):
    """A request that is not served: `field` of the body is wrong, `code` is the HTTP status."""

    def __init__(self, message: str, field: str | None = None, code: int = 400, headers: dict | None = None) -> None:
        super().__init__(message)
        self.field, self.code, self.headers = field, code, headers


_TOLD = {  # what counts of an edit, by operation
    "vary": ("strength",),
    "inpaint": ("regions", "strength", "repaint"),
    "extend": ("seconds", "side", "repaint"),
    "loop": ("seam", "repaint"),
    "bands": ("bands", "strength"),
}


@dataclass(frozen=True)
class Edit:
    """What shall become of `audio`, float32 [samples] at `rate` Hz. The values are those of `EditBody`."""

    operation: str
    audio: np.ndarray = field(repr=False)
    rate: int
    strength: float | None = None
    regions: tuple[tuple[float, float], ...] = ()
    seconds: float = 0.0
    side: str = "after"
    bands: tuple[tuple[float, float], ...] = ()
    seam: float = 0.5
    repaint: int = 0

    @property
    def length(self) -> float:
        """Seconds of the result."""
        return len(self.audio) / self.rate + (self.seconds if self.operation == "extend" else 0.0)

    def to_json(self) -> dict[str, Any]:
        told = _TOLD[self.operation]
        return {"operation": self.operation, **{name: getattr(self, name) for name in told}}


@dataclass(frozen=True, eq=False)
class Wanted:
    """A request that can be made. `seed` None: one is drawn. `remarks` are to be wary of (see `settle`)."""

    prompt: str
    settings: Settings
    negative_prompt: str | None = None
    seconds: float | None = None
    seed: int | None = None
    variants: int = 1
    loop: bool = False
    blend: BlendBody | None = None
    control: ControlBody | None = None
    edit: Edit | None = None
    remarks: tuple[str, ...] = ()
    kind: str = "wav"
    bits: int = 16

    @property
    def size(self) -> int:
        """Bytes of the sound that was sent along."""
        return self.edit.audio.nbytes if self.edit else 0

    def to_json(self) -> dict[str, Any]:
        """As the request said it, defaults filled in: what makes the same sound again."""
        settings = self.settings
        told = {
            "prompt": self.prompt, "negative_prompt": self.negative_prompt, "seconds": self.seconds,
            "steps": settings.steps, "omega": NO_OMEGA if settings.omega is None else settings.omega,
            "nu": settings.nu, "gamma": settings.gamma, "sampler": settings.sampler, "variants": self.variants,
            "loop": self.loop, "format": self.kind, "bits": self.bits,
            "blend": self.blend and self.blend.model_dump(), "control": self.control and self.control.model_dump(),
        }  # fmt: skip
        if self.edit is not None:
            told |= self.edit.to_json()
        return {name: value for name, value in told.items() if value is not None}


def wanted_sound(body: GenerateBody, service: Service, pipe: SoundCTMPipeline) -> Wanted:
    """What a body of /v1/generate asks for. Raises Refused."""
    common = _common(body, service, pipe)
    seconds = body.seconds or pipe.defaults.seconds or pipe.codec.default_seconds
    _check_seconds(seconds, service, "seconds", "a clip")
    if body.blend is not None:
        _check_blend(body.blend, service)
    if body.control is not None:
        _checked("control", control_of, body.control, seconds)
    return Wanted(**common, seconds=body.seconds, loop=body.loop, blend=body.blend, control=body.control)


def wanted_edit(body: EditBody, audio: np.ndarray, rate: int, service: Service, pipe: SoundCTMPipeline) -> Wanted:
    """What a body of /v1/edit asks for, `audio` float32 [samples] being the sound at `rate` Hz. Raises Refused."""
    operation, seconds = body.operation, len(audio) / rate
    common = _common(body, service, pipe)
    needed = {"vary": "strength", "inpaint": "regions", "extend": "seconds", "bands": "bands"}.get(operation)
    if needed and not getattr(body, needed):
        if not (needed == "strength" and body.strength == 0):
            raise Refused(f"{operation} needs {needed}", needed)
    allowed = {needed, {"inpaint": "strength", "bands": "strength"}.get(operation)}
    for name in ("strength", "regions", "seconds", "bands"):
        if name not in allowed and getattr(body, name) is not None:
            raise Refused(f"{name} has no effect on {operation}; leave it out", name)
    edit = Edit(
        operation, audio, rate, body.strength, tuple(body.regions or ()), body.seconds or 0.0, body.side,
        tuple(body.bands or ()), body.seam, body.repaint,
    )  # fmt: skip
    _check_seconds(edit.length, service, "seconds" if operation == "extend" else "audio", "the clip")
    _check_places(edit, seconds, pipe)
    return Wanted(**common, edit=edit)


def refined(body: EditBody, before: Wanted, seed: int, service: Service, pipe: SoundCTMPipeline) -> Wanted:
    """`before` once more, at more steps: the clip of `seed`. What the body gives counts. Raises Refused."""
    import dataclasses

    given = {name: getattr(body, name) for name in ("omega", "nu", "gamma", "sampler")}
    old = before.settings
    sampler = given["sampler"] or ("deterministic" if old.sampler == "onestep" else old.sampler)
    omega = given["omega"] if given["omega"] is not None else NO_OMEGA if old.omega is None else old.omega
    settings, remarks = _settled(
        service, pipe, body.steps or REFINE_STEPS, sampler, omega, given["nu"] or old.nu,
        old.gamma if given["gamma"] is None else given["gamma"],
    )  # fmt: skip
    return dataclasses.replace(
        before, settings=settings, remarks=remarks, seed=seed, variants=1, kind=body.format, bits=body.bits
    )


def control_of(body: ControlBody, seconds: float):
    """The control over a clip of `seconds`. Raises UserError."""
    from soundctm.control import MEASURES, Control, Curve, Objective

    curve = Curve(tuple(body.points))
    curve.check(seconds)
    return Control(Objective(MEASURES[body.measure], curve), body.method)


def blend_of(body: BlendBody):
    """The blend. Raises UserError."""
    from soundctm.editing import Blend

    share = body.share if isinstance(body.share, tuple) else (body.share, body.share)
    return Blend(body.prompt, body.seed, share)


def _common(body: Sampling, service: Service, pipe: SoundCTMPipeline) -> dict[str, Any]:
    for name in ("prompt", "negative_prompt"):
        _check_caption(getattr(body, name), name, service.max_caption)
    if body.variants > service.max_variants:
        raise Refused(f"variants is {body.variants}; it must be at most {service.max_variants}", "variants")
    if body.format == "flac" and body.bits == 32:
        raise Refused("bits is 32, which a flac cannot hold; give 16 or 24", "bits")
    settings, remarks = _settled(service, pipe, body.steps, body.sampler, body.omega, body.nu, body.gamma)
    if body.negative_prompt is not None and settings.nu == 1.0:
        raise Refused("negative_prompt has no effect at nu 1; give nu above 1, for example 1.5", "negative_prompt")
    return {
        "prompt": body.prompt, "negative_prompt": body.negative_prompt, "settings": settings, "seed": body.seed,
        "variants": body.variants, "remarks": remarks, "kind": body.format, "bits": body.bits,
    }  # fmt: skip


def _settled(service: Service, pipe: SoundCTMPipeline, steps, sampler, omega, nu, gamma) -> tuple[Settings, tuple]:
    if steps is not None and steps > service.max_steps:
        raise Refused(f"steps is {steps}; it must be at most {service.max_steps}", "steps")
    settings, remarks = _checked(
        None, settle, pipe.defaults, pipe.weights, steps=steps, sampler=sampler, omega=omega, nu=nu, gamma=gamma
    )
    return settings, tuple(remarks)


def _check_caption(text: str | None, name: str, most: int) -> None:
    if text is not None and len(text) > most:
        raise Refused(f"{name} has {len(text)} characters; {most} is the limit", name)
    if name == "prompt" and not (text and text.strip()):
        raise Refused("prompt is empty; say what shall be heard", name)


def _check_seconds(seconds: float, service: Service, name: str, what: str) -> None:
    if seconds > service.max_seconds:
        raise Refused(f"{what} would have {seconds:g} s; {service.max_seconds:g} s is the limit", name)


def _check_blend(body: BlendBody, service: Service) -> None:
    _check_caption(body.prompt, "blend", service.max_caption)
    _checked("blend", blend_of, body)


def _check_places(edit: Edit, seconds: float, pipe: SoundCTMPipeline) -> None:
    from soundctm.editing import Band, Region
    from soundctm.editing.bands import latent_band_mask
    from soundctm.editing.regions import check_regions

    regions = [Region(*region) for region in edit.regions]
    _checked("regions", check_regions, regions, seconds)
    if edit.bands:
        _checked("bands", lambda: latent_band_mask(pipe.codec, [Band(*band) for band in edit.bands]))
    if edit.operation == "loop" and not edit.seam < seconds:
        raise Refused(f"a seam of {edit.seam:g} s does not fit in a clip of {seconds:g} s", "seam")


def _checked(name: str | None, act, *arguments, **options):
    """`act`, whose UserError is about the field `name`."""
    try:
        return act(*arguments, **options)
    except UserError as error:
        raise Refused(str(error), name) from error
