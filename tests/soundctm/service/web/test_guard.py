"""Who may ask: this machine's own pages and programs, and off loopback those that bring the token."""

import httpx
import pytest
from serving import serving

from soundctm.errors import UserError
from soundctm.service import Settings, create_app

TOKEN = "a-token-of-enough-length"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "192.168.1.5"]
)
def test_a_foreign_host_is_refused(client, host):
    answer = client.get("/health", headers={"Host": host})
    assert answer.status_code == 403 and answer.json()["field"] == "Host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8765", "[::1]"])
def test_names_of_this_machine_are_taken(client, host):
    assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://127.0.0.1", "http://localhost:{port}", "ftp://127.0.0.1:{port}", ""],
)
def test_a_foreign_origin_is_refused_and_nothing_is_made(client, service, origin):
    before = len(service[1].state.desk.jobs)
    headers = {"Origin": origin.format(port=client.base_url.port)}
    answer = client.post("/v1/generate", json={"prompt": "a", "wait": False}, headers=headers)
    assert answer.status_code == 403 and answer.json()["field"] == "Origin"
    assert len(service[1].state.desk.jobs) == before


def test_the_own_origin_is_taken(client):
    origin = {"Origin": str(client.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/generate", json={"prompt": "a"}, headers=origin).status_code == 200


def test_what_browsers_say_of_other_sites_is_heard(client):
    for site in ("cross-site", "same-site"):
        assert client.get("/v1/models", headers={"Sec-Fetch-Site": site}).status_code == 403
        link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
        assert client.get("/health", headers=link).status_code == 200
        assert client.post("/v1/generate", headers=link, json={"prompt": "a"}).status_code == 403


def test_a_form_of_another_page_cannot_pass_as_json(client):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None):
        headers = {} if kind is None else {"Content-Type": kind}
        assert client.post("/v1/generate", content=b'{"prompt": "a"}', headers=headers).status_code == 415


def test_every_answer_tells_browsers_what_it_may_do(client):
    for path, code in (("/health", 200), ("/nothing", 404), ("/v1/jobs/x", 404), ("/metrics", 200)):
        answer = client.get(path)
        assert answer.status_code == code and answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store" and answer.headers["x-frame-options"] == "DENY"
    refused = client.get("/health", headers={"Host": "evil.example"})
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_off_loopback_there_is_no_service_without_a_token():
    for host in ("0.0.0.0", "::", "192.168.0.7", "box.example"):
        with pytest.raises(UserError, match="needs a token"):
            create_app(Settings(host=host))
    assert create_app(Settings(host="0.0.0.0"), token=TOKEN) and create_app(Settings(host="127.8.9.10"))


def test_the_token_is_asked_for_everywhere_but_of_health(pipe):
    with serving(pipe, Settings(port=0, host_name=("box.example",)), TOKEN) as (address, _):
        with httpx.Client(base_url=address) as client:
            assert client.get("/health", headers={"Host": "box.example:1"}).status_code == 200
            for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/jobs/x", "/"):
                for given in (
                    {},
                    {"Authorization": "Bearer wrong"},
                    {"Authorization": TOKEN},
                    {"Authorization": "Bearer"},
                ):
                    answer = client.get(path, headers=given)
                    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            client.headers["Authorization"] = f"bearer {TOKEN}"
            assert client.get("/v1/models").status_code == 200
            assert client.post("/v1/generate", json={"prompt": "a"}).status_code == 200
            assert client.get("/v1/models", headers={"Authorization": b"Bearer \xff\xfe"}).status_code == 401
