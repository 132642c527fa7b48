"""The one exception that scripts turn into a single line and exit code 2."""


class UserError(ValueError):
    """Something the user gave is wrong; the message names it and says what would be right."""


class Unwritable(UserError):
    """What should be written cannot be: the disk is full, or the place is not to be written to."""
