"""Files: written whole or not at all, and folders that one run holds at a time."""

from soundctm.files.writing import write_whole

__all__ = ["write_whole"]
