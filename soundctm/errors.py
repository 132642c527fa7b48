"""The one exception that scripts turn into a single line and exit code 2."""


class UserError(ValueError):
    """Something the user gave is wrong; the message names it and says what would be right."""


class Unwritable(UserError):
    """What should be written cannot be: the disk is full, or the place is not to be written to."""


def quoted(value: object, most: int = 80) -> str:
    """A value as it may stand in a sentence: its repr, of `most` characters at most."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= most else text[: most - 3] + "..."
