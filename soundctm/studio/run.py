"""`soundctm studio`: the page in a browser, over a model on this machine.

    soundctm studio
    soundctm studio --output_dir sounds/film --checkpoint ckpt/full

Sounds are files in a folder, with the manifest.csv of the scripts. docs/studio.md shows the page.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soundctm.command import exit_code
from soundctm.config import add_arguments, check_ranges, config_from_args, option
from soundctm.errors import UserError
from soundctm.files.locks import held
from soundctm.places import MODELS

log = logging.getLogger(__name__)
DEFAULT_DIR = "~/SoundCTM"
PORT = 8764


@dataclass(frozen=True)
class StudioOptions:
    """Options of `soundctm studio`."""

    output_dir: str = option(
        DEFAULT_DIR, "folder of the sounds; one that the scripts have filled is fine", aliases=("folder",)
    )
    checkpoint: str = option("mini", "checkpoint folder, shipped name or hub id to begin with")
    device: str = option("auto", "cpu, cuda, cuda:1, mps; auto takes the best there is")
    dtype: str = option("float32", "of networks and codec", choices=("float32", "bfloat16", "float16"))
    port: int = option(PORT, "port of the page; the next free one if it is taken", low=0, high=65535)
    no_browser: bool = option(False, "do not open the page in a browser")

    def __post_init__(self) -> None:
        check_ranges(self)


def main(arguments: Sequence[str], program: str = "soundctm studio") -> int:
    """Serve the page until stopped. The exit code is that of `soundctm.command.exit_code`."""
    parser = argparse.ArgumentParser(
        prog=program, description="A page for making, choosing and editing sounds.", allow_abbrev=False
    )
    add_arguments(parser, StudioOptions)
    return exit_code(lambda: run(config_from_args(StudioOptions, parser.parse_args(arguments))))


def run(options: StudioOptions) -> None:
    """Serve the page until stopped. Raises UserError."""
    from soundctm.commands.serve import check_packages

    check_packages()
    if options.checkpoint in MODELS:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from soundctm.service import Settings
    from soundctm.service.web.server import serve
    from soundctm.studio.app import MOST_UPLOAD_MIB, create_studio
    from soundctm.studio.history import History

    folder = Path(options.output_dir).expanduser()
    settings = Settings(
        port=free_port(options.port), checkpoint=options.checkpoint, device=options.device, dtype=options.dtype,
        switch_models=True, max_upload_mib=MOST_UPLOAD_MIB, kept_mib=64.0,
    )  # fmt: skip
    with held(folder, "studio"):
        app = create_studio(settings, History(folder))

        def started(address: str) -> None:
            log.info("the studio is at %s; its sounds are in %s; Ctrl+C ends it", address, folder)
            if not options.no_browser:
                threading.Thread(target=open_page, args=(address,), daemon=True).start()

        serve(app, settings, started)


def free_port(wanted: int) -> int:
    """`wanted`, or where that is taken, the next of some ports that is free, and this is said. Raises UserError."""
    from soundctm.service import Settings
    from soundctm.service.web.server import bound

    if wanted == 0:
        return 0  # any
    for port in range(wanted, min(wanted + 20, 65536)):
        try:
            with bound(Settings(port=port)) as listener:
                found = listener.getsockname()[1]
        except UserError as error:
            problem = error
            continue
        if port != wanted:
            log.info("port %d is taken; this is at %d", wanted, found)
        return found
    raise problem


def open_page(address: str) -> None:
    """Open the page where there is a screen; a browser for terminals would take this one."""
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not screen and "BROWSER" not in os.environ:
        log.info("there is no screen here; open %s in a browser", address)
        return
    webbrowser.open(address)
