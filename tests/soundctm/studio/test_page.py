"""The page's files: what is shipped is what was published, nothing is inline, nothing leads to another host."""

import hashlib
import re

import pytest
from fastapi.testclient import TestClient

from soundctm.service import Settings
from soundctm.studio.app import PAGE, create_studio
from soundctm.studio.history import History

OURS = sorted(
    path for path in PAGE.rglob("*") if path.suffix in (".js", ".css", ".html") and "vendor" not in path.parts
)


def test_wavesurfer_is_what_was_published_with_its_licence():
    folder = PAGE / "vendor" / "wavesurfer"
    told = dict(reversed(line.split()) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(told) == {path.name for path in folder.iterdir()} - {"SHA256SUMS"} and "LICENSE" in told
    for name, digest in told.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    # of the package wavesurfer.js 8.0.1 in the npm registry
    assert told["wavesurfer.esm.js"] == "079f3b142f37737f975b03ea8fd18652a316dc2120a2629aeca0844a0c08f2b1"


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_markup_out_of_texts_and_no_other_host(path):
    text = path.read_text(encoding="utf-8")
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:", text
    )
    assert found == []
    assert set(re.findall(r"(?:https?|wss?):?//[\w.-]+", text)) <= {"http://www.w3.org"}  # the name of SVG
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    assert text.count("\n") <= 400


def test_every_file_that_is_named_is_there_and_every_part_of_the_page_is_used():
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    for address in re.findall(r'(?:href|src)="/static/([^"]+)"', page):
        assert (PAGE / address).is_file(), address
    scripts = [path for path in OURS if path.suffix == ".js"]
    imported = {"main.js"}
    for path in scripts:
        for target in re.findall(r'from "([^"]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"
            imported.add((path.parent / target).name)
    assert {path.name for path in scripts} <= imported
    ids = set(re.findall(r'\sid="([^"]+)"', page))
    for path in scripts:
        for name in re.findall(r'\$\("([\w-]+)"\)', path.read_text(encoding="utf-8")):
            assert name in ids, f"{path.name}: {name}"


def test_the_page_is_there_before_the_model_and_allows_nothing_inline(history, monkeypatch):
    history.folder.rename(history.folder.with_name('a"><script>b'))
    history = History(history.folder.with_name('a"><script>b'))
    with monkeypatch.context() as patch:
        patch.setattr("soundctm.service.app.load_model", lambda *given: __import__("time").sleep(5))
        client = TestClient(create_studio(Settings(), history), base_url="http://localhost")
        answers = [client.get("/") for _ in range(2)]
        assert client.get("/health").json()["status"] == "loading"
        assert client.get("/studio/history").json()["total"] == 2
        styles = client.get("/static/css/base.css")
    policy = answers[0].headers["content-security-policy"]
    nonce = re.search(r"'nonce-([\w-]{20,})'", policy)[1]
    assert f'data-nonce="{nonce}"' in answers[0].text and nonce not in answers[1].text
    assert "unsafe" not in policy and "default-src 'none'" in policy and "*" not in policy
    assert "<script>b" not in answers[0].text and "a&quot;&gt;&lt;script&gt;b" in answers[0].text
    assert styles.headers["cache-control"] == "no-cache" and styles.headers["x-content-type-options"] == "nosniff"
