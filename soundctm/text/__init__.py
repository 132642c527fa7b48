"""Text conditioning: captions to hidden states and a mask, each caption encoded once."""

from soundctm.text.conditioning import TextConditioning
from soundctm.text.encoder import TextEncoder

__all__ = ["TextConditioning", "TextEncoder"]
