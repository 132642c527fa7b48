"""The documentation as a site: no page without a place, no link to nowhere, no name that is not there."""

import os
import subprocess
import sys

from script_runs import ROOT


def test_the_site_builds_without_a_warning(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path.name for path in (tmp_path / "site").glob("*.html")}
    assert {"index.html", "make.html", "api.html", "mini.html", "data.html", "changes.html"} <= pages
    api = (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    assert "num_waveforms_per_prompt" in api and "AudioLDMCodec" in api
