"""A temporary file as a killed process leaves one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
KILLED = """
import os, signal, sys
from soundctm.files.writing import whole_file
with whole_file(sys.argv[1] + "/file") as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def left_by_a_dead_process(folder: Path) -> Path:
    """Start a process that is killed while it writes into `folder`; what it left."""
    run = subprocess.run([sys.executable, "-c", KILLED, folder], cwd=ROOT, capture_output=True, text=True)
    left = Path(run.stdout.strip())
    assert left.is_file() and left.parent == folder
    return left
