"""The scripts of the repository root, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_script(*command: str | bytes, **environment: str) -> subprocess.CompletedProcess:
    """The finished command, run with the Python of the tests and without a model hub."""
    env = {**os.environ, "SOUNDCTM_PYTHON": sys.executable, "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
