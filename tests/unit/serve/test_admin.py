"""The admin API: list, add, change, retract, try and propose edits, and read the log."""

from __future__ import annotations

import httpx
import pytest

from errata.cache.patches.files import load_folder
from errata.serve.access import Access
from errata.serve.app import create_app
from errata.serve.keys import KeyRing, digest_of
from errata.serve.upstream import UpstreamEngine
from tests.unit.helpers import CAPITAL, OTHER
from tests.unit.serve.conftest import asked_upstream, decider
from tests.unit.serve.stub import served

ROOT, ADA = "sk-root", "sk-ada"
ACCESS = Access(KeyRing({"ada": digest_of(ADA)}), KeyRing({"root": digest_of(ROOT)}))
FILE = f"""\
# places
- question: {CAPITAL}
  answer: Astana
  id: kazakhstan
"""
NEAR = "The capital of Kazakhstan is what?"
PALAU = {"question": "What is the capital of Palau?", "answer": "Ngerulmud"}


class Admin(httpx.Client):
    """A client of the admin API, and of the chat."""

    def call(self, method, path, status=200, **body):
        options = {"json": body} if method in ("POST", "PUT") else {"params": body}
        response = self.request(method, f"/admin/api/{path}", **options)
        assert response.status_code == status, response.text
        return response.json()

    def said(self, question):
        body = {"messages": [{"role": "user", "content": question}]}
        headers = {"Authorization": f"Bearer {ADA}"}
        response = self.post("/v1/chat/completions", json=body, headers=headers)
        return response.json()["choices"][0]["message"]["content"]


@pytest.fixture
def admin(stub, tmp_path):
    """Return a function that serves a folder of patches, and gives a client."""
    import contextlib

    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "places.yaml").write_text(FILE)
    with contextlib.ExitStack() as stack:

        def start(writable=True, access=ACCESS, audit=True):
            url = stack.enter_context(served(stub))
            log = {"audit": tmp_path / "audit.sqlite3"} if audit else {}
            made = decider(patches=folder, complete=asked_upstream, **log)
            engine = UpstreamEngine(made, f"{url}/v1")
            app = create_app(engine, access, writable=writable)
            base = stack.enter_context(served(app))
            headers = {"Authorization": f"Bearer {ROOT}"}
            return stack.enter_context(Admin(base_url=base, headers=headers, timeout=60))

        start.folder, start.file = folder, folder / "places.yaml"
        yield start


PATHS = [
    ("GET", "status"), ("GET", "edits"), ("POST", "edits"), ("PUT", "edits/x"),
    ("DELETE", "edits/x"), ("POST", "edits/x/test"), ("POST", "test"), ("POST", "propose"),
    ("POST", "preview"), ("POST", "examples"), ("POST", "ask"), ("GET", "triage"),
    ("GET", "conflicts"),
]  # fmt: skip


def test_every_endpoint_needs_an_admin_key(admin):
    client = admin()
    for key in (None, "sk-wrong", ADA):
        for method, path in PATHS:
            headers = {"Authorization": f"Bearer {key}" if key else ""}
            response = client.request(method, f"/admin/api/{path}", headers=headers, json={})
            assert response.status_code == 401, (key, path)
    closed = admin(access=None)
    assert closed.get("/admin/api/edits").status_code == 401, "no admin key, no admin"


def test_edits_in_the_servers_cache(admin):
    client = admin()
    assert client.said(PALAU["question"]).startswith("stub")
    made = client.call("POST", "edits", 201, entry=PALAU)["edit"]
    assert made["location"] is None and client.said(PALAU["question"]) == "Ngerulmud"
    changed = client.call("PUT", f"edits/{made['id']}", entry={**PALAU, "answer": "Melekeok"})
    assert client.said(PALAU["question"]) == "Melekeok"
    taught = client.call(
        "POST", "examples", 201, id=changed["edit"]["id"], list="fires", query="Palau?"
    )
    assert taught["edit"]["entry"]["tests"] == {"fires": ["Palau?"]}
    assert client.said("Palau?") == "Melekeok"
    client.call("DELETE", f"edits/{taught['edit']['id']}")
    assert client.said(PALAU["question"]).startswith("stub")
    client.call("DELETE", f"edits/{taught['edit']['id']}", 404)
    client.call("POST", "edits", 400, entry={"question": "no answer"})


def test_edits_in_files(admin):
    client = admin()
    made = client.call("POST", "edits", 201, entry=PALAU, file="new.yaml")["edit"]
    assert made["location"] == f"{admin.folder / 'new.yaml'}:1" and made["in_force"]
    assert client.said(PALAU["question"]) == "Ngerulmud", "in force on return"
    body = {"question": CAPITAL, "answer": "Akmola", "id": "kazakhstan"}
    client.call("PUT", "edits/kazakhstan", entry=body)
    assert client.said(CAPITAL) == "Akmola" and admin.file.read_text().startswith("# places")
    client.call("POST", "examples", 201, id="kazakhstan", list="silent", query=OTHER)
    assert OTHER in load_folder(admin.folder)[1].tests.silent
    client.call("DELETE", "edits/kazakhstan")
    assert client.said(CAPITAL).startswith("stub") and "Akmola" not in admin.file.read_text()
    for name in ("../out.yaml", "/tmp/x.yaml", ".hidden.yaml", "x.txt"):
        client.call("POST", "edits", 400, entry={"question": "a", "answer": "b"}, file=name)
    assert sorted(path.name for path in admin.folder.iterdir()) == ["new.yaml", "places.yaml"]


def test_without_the_right_to_write_there_are_diffs(admin):
    client = admin(writable=False)
    refused = client.call("DELETE", "edits/kazakhstan", 403)
    assert "--write" in refused["error"]["message"] and admin.file.read_text() == FILE
    client.call("POST", "edits", 403, entry=PALAU, file="places.yaml")
    assert client.call("POST", "edits", 201, entry=PALAU), "the cache is the server's own"
    proposed = client.call("POST", "propose", action="retract", id="kazakhstan")
    assert "-  answer: Astana" in proposed["diff"] and proposed["file"] == str(admin.file)
    added = {"question": "a?", "answer": "b"}
    diff = client.call("POST", "propose", action="add", entry=added, file="places.yaml")["diff"]
    assert "+- question: a?" in diff
    example = {"action": "example", "id": "kazakhstan", "list": "fires", "query": "KZ?"}
    assert "KZ?" in client.call("POST", "propose", **example)["diff"]
    assert admin.file.read_text() == FILE


def test_asking_shows_both_answers_and_why(admin):
    client = admin()
    found = client.call("POST", "ask", question=CAPITAL)
    assert found["corrected"] == "Astana" and found["base"] == f"stub: {CAPITAL}"
    assert found["decision"]["fired"][0]["location"] == f"{admin.file}:2"
    assert found["decision"]["candidates"][0]["probability"] == 1.0
    missed = client.call("POST", "ask", question=OTHER)
    assert missed["corrected"] == missed["base"] and not missed["decision"]["fired"]


def test_edits_are_listed_and_sought(admin):
    client = admin()
    client.call("POST", "edits", 201, entry=PALAU)
    assert client.call("GET", "edits")["total"] == 2
    (one,) = client.call("GET", "edits", query="ASTANA")["edits"]
    assert one["id"] == "kazakhstan" and one["entry"]["answer"] == "Astana"
    status = client.call("GET", "status")
    assert status["edits"] == 2 and status["writable"] and status["patch_errors"] == []


def test_a_draft_is_tried_and_in_force_nowhere(admin):
    client = admin()
    draft = {**PALAU, "tests": {"fires": ["Ngerulmud is where?"], "silent": [CAPITAL]}}
    found = client.call("POST", "test", entry=draft)
    assert [one["failure"] for one in found["results"]] == ["", "", ""]
    assert client.said(PALAU["question"]).startswith("stub")
    rival = {"question": CAPITAL, "answer": "Almaty"}
    problems = client.call("POST", "test", entry=rival)["problems"]
    assert any("Astana" in one["message"] for one in problems)
    replaced = client.call("POST", "test", entry=rival, id="kazakhstan")["problems"]
    assert not any("Astana" in one["message"] for one in replaced)


def test_tests_of_an_edit_in_force(admin):
    client = admin()
    expect = {**PALAU, "tests": {"expect": {PALAU["question"]: "Ngerulmud"}}}
    made = client.call("POST", "edits", 201, entry=expect)["edit"]
    results = client.call("POST", f"edits/{made['id']}/test")["results"]
    assert [(one["expected"], one["failure"]) for one in results] == [("fires", ""), ("answer", "")]


def test_the_log_shows_near_misses_and_what_a_draft_would_change(admin):
    client = admin()
    for question in (NEAR, NEAR, OTHER):
        assert client.said(question).startswith("stub"), "the gate misses it"
    (case, *_) = client.call("GET", "triage")["cases"]
    assert (case["query"], case["count"], case["outcome"]) == (NEAR, 2, "near miss")
    draft = {"question": CAPITAL, "answer": "Astana", "id": "kazakhstan"}
    draft["tests"] = {"fires": [NEAR]}
    preview = client.call("POST", "preview", entry=draft, id="kazakhstan")
    assert preview["decisions"] == 3 and preview["different"] == 2
    assert [one["query"] for one in preview["queries"]] == [NEAR]
    client.call("POST", "examples", 201, id=case["edit"]["id"], list="fires", query=NEAR)
    assert client.said(NEAR) == "Astana" and not client.call("GET", "triage")["cases"]
    assert client.call("POST", "preview", entry=draft, id="kazakhstan")["different"] == 2


def test_without_a_log_it_is_said(admin):
    client = admin(audit=False)
    assert "--audit" in client.call("GET", "triage", 409)["error"]["message"]


def test_conflicts_are_listed(admin):
    client = admin()
    assert client.call("GET", "conflicts")["conflicts"] == []
    client.call("POST", "edits", 201, entry={"question": CAPITAL, "answer": "Almaty"})
    found = client.call("GET", "conflicts")["conflicts"]
    assert found and any("Almaty" in one["message"] for one in found)
