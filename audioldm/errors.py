"""What this package raises for input that it cannot use."""


class CodecError(ValueError):
    """A codec file, configuration or tensor is not usable; the message names it and says what would be right."""
