"""Keys, limits, health and errors of the server."""

from __future__ import annotations

import json
import socket
import time

import httpx
import pytest

from errata.cache.errors import ErrataError
from errata.serve.access import Access, RateLimit
from errata.serve.config import ServeConfig
from errata.serve.keys import KeyRing, digest_of, new_key
from tests.unit.helpers import CAPITAL

ADA, BOB, ROOT = "sk-ada", "sk-bob", "sk-root"
ACCESS = Access(
    KeyRing({"ada": digest_of(ADA), "bob": digest_of(BOB)}), KeyRing({"root": digest_of(ROOT)})
)
BODY = {"messages": [{"role": "user", "content": CAPITAL}]}


def bearer(key):
    return {} if key is None else {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keyed(upstream):
    return upstream(access=ACCESS)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("GET", "/v1/models")],
)
def test_endpoints_take_callers_keys_alone(keyed, method, path):
    body = {**BODY, "prompt": CAPITAL} if method == "POST" else None
    for key in (None, "x", "sk-wrong", ROOT, ADA[:-1]):
        response = httpx.request(method, f"{keyed}{path}", json=body, headers=bearer(key))
        assert (response.status_code, key) == (401, key)
        assert response.json()["error"]["type"] == "authentication_error"
    for key in (ADA, BOB):
        response = httpx.request(method, f"{keyed}{path}", json=body, headers=bearer(key))
        assert response.status_code == 200


def test_health_is_open_and_metrics_take_any_key(keyed):
    assert httpx.get(f"{keyed}/healthz").text == "ok"
    assert httpx.get(f"{keyed}/readyz").json()["ready"] is True
    assert httpx.get(f"{keyed}/metrics").status_code == 401
    assert httpx.get(f"{keyed}/metrics", headers=bearer("sk-wrong")).status_code == 401
    for key in (ADA, ROOT):
        text = httpx.get(f"{keyed}/metrics", headers=bearer(key)).text
        assert "errata_edits 1.0" in text and 'errata_requests_total{path="/readyz"' in text


def test_the_callers_key_does_not_reach_the_upstream(keyed, stub):
    other = {"messages": [{"role": "user", "content": "Tell me about Oslo."}]}
    response = httpx.post(f"{keyed}/v1/chat/completions", json=other, headers=bearer(ADA))
    assert response.status_code == 200 and "authorization" not in stub.headers[-1]


def test_key_files(tmp_path):
    file = tmp_path / "keys"
    key = new_key()
    file.write_text(f"# callers\nada: {digest_of(key)}\n\n")
    ring = KeyRing.load(file)
    assert ring.name_of(key) == "ada" and ring.name_of(key[:-1]) is None and key not in str(ring)
    for text in ("", "ada: nothash\n", f"a: {'0' * 64}\na: {'1' * 64}\n"):
        file.write_text(text)
        with pytest.raises(ErrataError, match="new-key"):
            KeyRing.load(file)
    with pytest.raises(ErrataError, match="new-key"):
        KeyRing.load(tmp_path / "missing")


def test_a_rate_is_kept_by_key(upstream):
    access = Access(ACCESS.callers, ACCESS.admins, RateLimit("3/hour"))
    url = upstream(access=access)

    def status(key):
        response = httpx.post(f"{url}/v1/chat/completions", json=BODY, headers=bearer(key))
        return response.status_code

    assert [status(ADA) for _ in range(4)] == [200, 200, 200, 429]
    assert status(BOB) == 200, "another key has a rate of its own"
    with pytest.raises(ErrataError, match="600/minute"):
        RateLimit("often")


def test_bodies_are_limited_in_size_and_time(upstream, stub):
    url = upstream(config=ServeConfig(max_body_bytes=1000, body_seconds=0.3))
    large = httpx.post(f"{url}/v1/chat/completions", json={**BODY, "x": "y" * 2000})
    assert large.status_code == 413 and large.json()["error"]["code"] == "request_too_large"

    def chunks():
        for _ in range(30):
            yield b"x" * 100

    streamed = httpx.post(f"{url}/v1/chat/completions", content=chunks())
    assert streamed.status_code == 413
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{"
        )
        slow.settimeout(30)
        assert b" 408 " in slow.recv(4096)
    assert httpx.post(f"{url}/v1/chat/completions", json=BODY).status_code == 200
    assert not stub.got, "nothing of them reached the upstream"


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        (b"{", "broken JSON"),
        (b"[]", "expected a JSON object"),
        (b"\xff\xfe", "broken JSON"),
        (b"[" * 100_000, "broken JSON"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": [{"content": "a"}]}', "role"),
        (b'{"messages": [{"role": "user", "content": "a"}], "n": "many"}', "n"),
    ],
)
def test_broken_bodies_are_refused(upstream, stub, raw, part):
    response = httpx.post(f"{upstream()}/v1/chat/completions", content=raw)
    assert response.status_code == 400 and part in response.json()["error"]["message"]
    assert not stub.got


def test_an_error_of_ours_never_shows_a_patch(upstream, monkeypatch):
    url = upstream()

    def failing(routed, **options):
        raise ErrataError("the secret text of a patch")

    monkeypatch.setattr(upstream.engine.decider, "answers", failing)
    response = httpx.post(f"{url}/v1/chat/completions", json=BODY)
    assert response.status_code == 500 and "secret" not in response.text
    assert response.json()["error"]["type"] == "api_error"
    missing = httpx.get(f"{url}/nothing")
    assert missing.status_code == 404 and missing.json()["error"]["type"] == "not_found_error"


def test_a_changed_file_is_followed(upstream, tmp_path):
    from errata.cache.patches.watch import WatchConfig

    file = tmp_path / "facts.yaml"
    file.write_text(f"- question: {CAPITAL}\n  answer: Astana\n")
    quick = WatchConfig(quiet_seconds=0.01, max_wait_seconds=0.1, poll_seconds=0.1)
    url = upstream(config=None, patches=tmp_path, watch=quick, own=False)

    def said():
        response = httpx.post(f"{url}/v1/chat/completions", json=BODY)
        return response.json()["choices"][0]["message"]["content"]

    assert said() == "Astana"
    file.write_text(f"- question: {CAPITAL}\n  answer: Akmola\n")
    end = time.monotonic() + 20
    while said() != "Akmola":
        assert time.monotonic() < end, "the change was never seen"
    file.write_text("- question: [")
    while json.loads(httpx.get(f"{url}/readyz").text)["patch_errors"] == 0:
        assert time.monotonic() < end, "the error was never seen"
    assert said() == "Akmola", "the last good set stays in force"
