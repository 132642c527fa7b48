"""What this package raises for input that it cannot use."""

LONGEST = 2000  # characters of a message, which may quote what stands in a file


class CodecError(ValueError):
    """A codec file, configuration or tensor is not usable; the message names it and says what would be right."""

    def __init__(self, message: object = "") -> None:
        super().__init__(" ".join(str(message).split())[:LONGEST])
