"""SoundCTM: text to sound in one to a few network steps (Saito et al., ICLR 2025).

    from soundctm import SoundCTMPipeline

    pipe = SoundCTMPipeline.from_pretrained("mini")
    pipe("a dog barking in the rain", seed=7).save("dog.wav")

The names below are imported when they are first used: torch and its libraries take seconds.
"""

__version__ = "0.1.0"

from soundctm.modules import imported_on_use, refuse_what_is_no_command

refuse_what_is_no_command("soundctm")

_MODULES = {
    "SamplingWarning": "defaults",
    "SoundCTMOutput": "pipeline",
    "SoundCTMPipeline": "pipeline",
    "UserError": "errors",
}
__all__ = list(_MODULES)
__getattr__, __dir__ = imported_on_use(__name__, _MODULES)
