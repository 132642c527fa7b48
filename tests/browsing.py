"""A studio in a process of its own, and a browser that is installed, in a new profile and without its own network."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
BROWSER = os.environ.get("SOUNDCTM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
NEEDED = os.environ.get("SOUNDCTM_BROWSER") == "1"  # of .ci/run, where it must not be left out
QUIET = (
    "--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-domain-reliability", "--no-pings", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    "--disable-features=OptimizationHints,AutofillServerCommunication,Translate",
)  # fmt: skip


def browser_or_skip() -> str:
    """The browser's path; a test without one is left out, where it need not run."""
    if BROWSER is None:
        if NEEDED:
            pytest.fail("there is no chromium, and SOUNDCTM_BROWSER=1 asks for one")
        pytest.skip("there is no browser here (Debian: apt-get install chromium)")
    return BROWSER


class Studio:
    """`soundctm studio` over `folder`, begun in `place`; seconds until the page and the model were there."""

    def __init__(self, folder: Path, *options: str, place: Path = ROOT) -> None:
        self.folder, self.address, self.said = folder, None, []
        command = [sys.executable, "-m", "soundctm", "studio", "--no_browser", "--port", "0"]
        env = {**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)}
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [*command, "--output_dir", str(folder), *options], cwd=place, env=env, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.until(lambda: self.address, 60, "the studio says no address")
        self.page_s = self.answer("/") and time.monotonic() - begun
        self.until(lambda: json.loads(self.answer("/health"))["status"] == "ok", 120, "the model is not loaded")
        self.ready_s = time.monotonic() - begun

    def _read(self) -> None:
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                self.address = found[0]

    def answer(self, path: str) -> bytes:
        import httpx

        with contextlib.suppress(httpx.TransportError):
            return httpx.get(self.address + path, timeout=10).content
        return b""

    def until(self, true: Callable[[], object], seconds: float, problem: str) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert self.process.poll() is None and time.monotonic() < end, f"{problem}: {''.join(self.said)}"
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@contextlib.contextmanager
def browsing(log: Path, **options) -> Iterator:
    """A context of a browser that writes what its network does to `log`."""
    from playwright.sync_api import sync_playwright

    path = browser_or_skip()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=[*QUIET, f"--log-net-log={log}", "--net-log-capture-mode=Default"]
        )
        context = browser.new_context(viewport={"width": 1360, "height": 860}, accept_downloads=True, **options)
        context.set_default_timeout(30_000)
        yield context
        context.close()
        browser.close()


def hosts_asked(log: Path, address: str) -> set[str]:
    """The hosts that the page at `address` made the browser ask, by the browser's own log.

    What it asks for itself (the time, its account) has no page behind it and is not counted.
    """
    told = json.loads(log.read_text(encoding="utf-8"))
    started = told["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    asked = [event["params"] for event in told["events"] if event["type"] == started and "params" in event]
    asked = [request for request in asked if "url" in request]
    own = [request["url"] for request in asked if address in (request.get("initiator"), request["url"].rstrip("/"))]
    return {str(urlsplit(url).hostname) for url in own}


def poll(page, script: str, wanted: Callable[[object], object] = bool, seconds: float = 40):
    """The value of `script` as soon as it is `wanted`. (The page forbids eval, which playwright's own waiting uses.)"""
    end = time.monotonic() + seconds
    while True:
        value = page.evaluate(script)
        if wanted(value):
            return value
        assert time.monotonic() < end, f"{script} stayed {value!r}"
        page.wait_for_timeout(20)
