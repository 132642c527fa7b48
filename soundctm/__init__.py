"""SoundCTM: text to sound in one network step, refined by more steps (Saito et al., ICLR 2025)."""

__version__ = "0.1.0"

from soundctm.modules import refuse_what_is_no_command

refuse_what_is_no_command("soundctm")
