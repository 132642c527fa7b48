"""The one exception that scripts turn into a single line and exit code 2."""

LONGEST = 2000  # characters of a message


class UserError(ValueError):
    """Something the user gave is wrong; the message names it and says what would be right.

    It is one line, whatever it quotes: what cannot be printed is escaped, and of a very long text the middle is left
    out.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_one_line(str(message)))


class Unwritable(UserError):
    """What should be written cannot be: the disk is full, or the place is not to be written to."""


def quoted(value: object, most: int = 80) -> str:
    """A value as it may stand in a sentence: its repr, of `most` characters at most."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= most else text[: most - 3] + "..."


def _one_line(text: str) -> str:
    text = " ".join(line.strip() for line in text.splitlines() if line.strip())
    # bytes of a name that are no UTF-8 are left to whoever prints it
    text = "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else repr(c)[1:-1] for c in text)
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"
