"""Files: written whole or not at all, read within limits, named inside their folders, held by one run at a time."""

from soundctm.files.lines import append_line, cut_unfinished
from soundctm.files.names import inside
from soundctm.files.writing import check_replaceable, ensure_writable, sweep, whole_file, whole_folder, write_whole

__all__ = [
    "append_line",
    "check_replaceable",
    "cut_unfinished",
    "ensure_writable",
    "inside",
    "sweep",
    "whole_file",
    "whole_folder",
    "write_whole",
]
