"""Makes tests/helpers.py importable from every test folder and keeps tests off the network and off idle threads.

Tests with the mark `nightly` run only where SOUNDCTM_NIGHTLY=1 is set.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests with the mark `nightly` out unless SOUNDCTM_NIGHTLY asks for them, and then give them their time."""
    asked = os.environ.get("SOUNDCTM_NIGHTLY", "0") not in ("", "0")
    for item in items:
        if item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.timeout(0) if asked else pytest.mark.skip(reason="SOUNDCTM_NIGHTLY=1 runs it"))


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 300 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)
