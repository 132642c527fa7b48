"""Files: written whole or not at all, and folders that one run holds at a time."""

from soundctm.files.writing import sweep, whole_file, whole_folder, write_whole

__all__ = ["sweep", "whole_file", "whole_folder", "write_whole"]
