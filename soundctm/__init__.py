"""SoundCTM: text to sound in one network step, refined by more steps (Saito et al., ICLR 2025).

    from soundctm import SoundCTMPipeline

    pipe = SoundCTMPipeline.from_pretrained("mini")
    pipe("a dog barking in the rain", seed=7).save("dog.wav")

The names below are imported when they are first used: torch and its libraries take seconds.
"""

import importlib

__version__ = "0.1.0"

from soundctm.modules import refuse_what_is_no_command

refuse_what_is_no_command("soundctm")

_MODULES = {
    "SamplingWarning": "defaults",
    "SoundCTMOutput": "pipeline",
    "SoundCTMPipeline": "pipeline",
    "UserError": "errors",
}
__all__ = list(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
