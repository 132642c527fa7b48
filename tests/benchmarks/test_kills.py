"""The kill campaign counts what survives and what does not."""

import random
import sys

import pytest

from benchmarks.kills import campaign, main

# twenty files, each made once; `SAFE` goes on where it was, `LOSSY` writes in place and takes what is there for whole
START = "import pathlib, sys, time\nfrom soundctm.files import sweep, whole_file\nout = pathlib.Path(sys.argv[1])\n"
START += "out.mkdir(exist_ok=True)\n"
SAFE = START + (
    "sweep(out)\n"
    "for i in range(20):\n"
    "    if not (out / f'{i}').exists():\n"
    "        with whole_file(out / f'{i}') as t, t.open('w') as f:\n"
    "            for part in range(10): f.write(f'{i}'); f.flush(); time.sleep(0.002)\n"
)
LOSSY = START + (
    "for i in range(20):\n"
    "    if not (out / f'{i}').exists():\n"
    "        with (out / f'{i}').open('w') as f:\n"
    "            for part in range(10): f.write(f'{i}'); f.flush(); time.sleep(0.002)\n"
)


@pytest.mark.parametrize(("code", "safe"), [(SAFE, True), (LOSSY, False)])
def test_what_is_lost_is_counted(tmp_path, code, safe):
    count = campaign("try", [sys.executable, "-c", code, "OUT"], tmp_path, 4, random.Random(1))
    assert count.tries == 4 and count.survived + count.lost == 4 and count.leftovers == 0
    assert count.hit >= 1, "no kill hit the running process"
    assert (count.lost == 0) if safe else (count.lost >= 1)


@pytest.mark.nightly
def test_real_commands_lose_nothing(capsys):
    assert main(["--kills", "2"]) == 0
    assert capsys.readouterr().out.count(" 0 lost, 0 leftovers") == 4
