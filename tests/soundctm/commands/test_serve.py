"""`soundctm serve` as a program: it listens at once, loads, serves, and ends when it is told to."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from soundctm.commands import main
from soundctm.commands.serve import read_token
from soundctm.errors import UserError
from soundctm.service import Settings


@contextlib.contextmanager
def started(*options, **environment):
    """(process, its address) of `soundctm serve`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "soundctm", "serve", "--port", "0", *map(str, options)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )  # fmt: skip
    try:
        line = process.stderr.readline()
        found = re.match(r"listening at (http://\S+); loading", line)
        assert found, line + process.stderr.read()
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def test_it_serves_and_finishes_what_runs_when_it_is_stopped(tiny_checkpoint):
    with (
        started("--checkpoint", tiny_checkpoint) as (process, address),
        httpx.Client(base_url=address, timeout=300) as client,
    ):
        assert client.get("/health").json()["status"] in ("loading", "ok")
        answer = client.post("/v1/generate", json={"prompt": "a dog"})  # waits for the model
        assert answer.status_code == 200 and answer.content[:4] == b"RIFF"
        job = client.post("/v1/generate", json={"prompt": "b", "steps": 64, "seconds": 10, "wait": False}).json()
        with client.stream("GET", job["events"]) as events:
            lines = events.iter_lines()
            while '"running"' not in next(lines):
                pass
            process.send_signal(signal.SIGTERM)
            said = list(lines)
        assert "event: done" in said
        assert process.wait(60) == 0


def test_a_model_that_cannot_be_loaded_ends_it_with_a_sentence(tmp_path, capsys):
    assert main(["serve", "--port", "0", "--checkpoint", str(tmp_path)]) == 2
    assert re.fullmatch(r"error: .*model_index.json\n", capsys.readouterr().err)


def test_what_is_wrong_is_said_before_anything_is_loaded(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("SOUNDCTM_TOKEN", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for arguments, sentence in (
            (["--host", "0.0.0.0"], "needs a token"),
            (["--port", str(taken.getsockname()[1])], "cannot listen at 127.0.0.1"),
            (["--host", "198.51.100.1", "--token_file", "token"], "cannot listen at 198.51.100.1"),
            (["--queue", "4"], "max_variants is 8"),
            (["--max-seconds", "1000"], "max_seconds is 1000"),
            (["--token_file", str(tmp_path / "none")], "there is no file"),
            (["--host_name", "http://x/"], "without scheme"),
        ):
            (tmp_path / "token").write_text("a token of some length\n")
            monkeypatch.chdir(tmp_path)
            assert main(["serve", *arguments]) == 2
            error = capsys.readouterr().err
            assert sentence in error and error.count("\n") == 1


def test_the_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("SOUNDCTM_TOKEN", raising=False)
    assert read_token(Settings()) is None
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\nmore\n")
    assert read_token(Settings(token_file=str(file))) == "0123456789abcdef"
    monkeypatch.setenv("SOUNDCTM_TOKEN", "fedcba9876543210")
    assert read_token(Settings()) == "fedcba9876543210"
    file.write_text("short")
    with pytest.raises(UserError, match="at least 16"):
        read_token(Settings(token_file=str(file)))


def test_without_its_packages_it_says_what_to_install(monkeypatch, capsys):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *p: None if name == "uvicorn" else find(name, *p))
    assert main(["serve"]) == 2
    assert (
        capsys.readouterr().err == "error: the service needs the Python package uvicorn: pip install soundctm[studio]\n"
    )


def test_it_listens_before_torch_is_imported():
    code = "import soundctm.service.app, sys; print([n for n in ('torch', 'transformers') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
