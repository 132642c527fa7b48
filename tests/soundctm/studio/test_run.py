"""`soundctm studio` as a process: killed in the middle of a job, a port that is taken, a folder that is in use."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
import soundfile
from browsing import Studio
from script_runs import ROOT

from soundctm.commands import main
from soundctm.inference.manifest import Manifest
from soundctm.studio import run as run_module
from soundctm.studio.history import History


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tiny import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("run"), teacher=False)


@pytest.fixture
def studio(tmp_path, checkpoint):
    found = Studio(tmp_path / "sounds", "--checkpoint", str(checkpoint), "--device", "cpu")
    yield found
    found.process.kill()
    found.process.wait(30)


def test_killed_in_the_middle_of_a_job_all_that_is_there_is_whole(studio):
    folder = studio.folder
    for prompt in ("wind", "rain", "hail"):
        body = {"prompt": prompt, "variants": 8, "steps": 4, "wait": False}
        assert httpx.post(f"{studio.address}/v1/generate", json=body).status_code == 202
    end = time.monotonic() + 60
    while len(list(folder.glob("*.wav"))) < 6 and time.monotonic() < end:
        time.sleep(0.001)
    os.kill(studio.process.pid, signal.SIGKILL)
    studio.process.wait(30)
    history = History(folder)
    items, _ = history.items(limit=200)
    assert len(items) >= 6
    assert {item.file for item in items} == set(Manifest(folder).read()) == {path.name for path in folder.glob("*.wav")}
    assert all(soundfile.info(folder / item.file).frames > 0 for item in items)
    assert not [path for path in folder.rglob(".*") if path.suffix in (".tmp", ".old")]
    json.loads((folder / "studio.json").read_text())


def test_the_next_free_port_is_taken_and_this_is_said(caplog):
    caplog.set_level("INFO")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = run_module.free_port(port)
    assert port < found < port + 20 and f"port {port} is taken; this is at {found}" in caplog.text
    assert run_module.free_port(0) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "port is 70000"),
        (["--checkpoint", "no/model/here"], "no/model/here"),
        (["--output_dir", "/proc/no/sounds"], "/proc/no/sounds"),
        (["--dtype", "int3"], "dtype"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "DEFAULT_DIR", str(tmp_path))
    begun = ["--no_browser", "--port", "0"] if "--port" not in arguments else ["--no_browser"]
    place = [] if "--output_dir" in arguments else ["--output_dir", str(tmp_path / "sounds")]
    try:
        code = main(["studio", *begun, *place, *arguments])
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2 and says in error and "Traceback" not in error


def test_a_second_studio_in_a_folder_is_refused(tmp_path, capsys):
    from soundctm.files.locks import held

    with held(tmp_path, "studio"):
        assert main(["studio", "--no_browser", "--output_dir", str(tmp_path)]) == 2
    assert "is in use by a studio" in capsys.readouterr().err


def test_a_browser_is_opened_where_there_is_a_screen(monkeypatch, caplog):
    opened = []
    caplog.set_level("INFO")
    monkeypatch.setattr(run_module.webbrowser, "open", opened.append)
    monkeypatch.setattr(run_module.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    run_module.open_page("http://127.0.0.1:1")
    assert opened == [] and "open http://127.0.0.1:1 in a browser" in caplog.text
    monkeypatch.setenv("DISPLAY", ":0")
    run_module.open_page("http://127.0.0.1:2")
    assert opened == ["http://127.0.0.1:2"]


def test_the_script_of_the_checkout_is_the_command():
    env = {**os.environ, "SOUNDCTM_PYTHON": sys.executable}
    done = subprocess.run(["bash", "studio.sh", "--help"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "--output_dir" in done.stdout and "soundctm studio" in done.stdout
