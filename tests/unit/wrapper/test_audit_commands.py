"""errata log, replay and triage: from what was logged to an example that decides."""

from __future__ import annotations

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from errata.audit.config import AuditConfig
from errata.audit.database import AuditDatabase
from errata.audit.records import LoggedDecision, LoggedPatch
from errata.audit.replay import ReplayedQuery, Verdict, merged
from errata.audit.triage import TriageConfig, triage_cases
from errata.cache.patches.files import load_folder
from errata.cache.records import Fact, PatchTests, SourceLocation
from errata.cli import app
from errata.commands import opening
from errata.gates.cosine import CosineGate
from tests.fakes import StubEncoder
from tests.unit.helpers import CAPITAL, OTHER, editable

CLOSE = "What is the capital of Uzbekistan?"
PATCH = f"""\
# capitals
- question: {CAPITAL}  # renamed
  answer: Astana
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "patches"
    made.mkdir()
    (made / "x.yaml").write_text(PATCH)
    return made


@pytest.fixture
def opened(models, tokenizer, tmp_path):
    """Return a function that opens a model whose gate takes CLOSE for the capital."""
    made = []

    def open_model(patches, audit=None):
        encoder = StubEncoder()
        gate = CosineGate(encoder, 0.6)
        made.append(
            editable(models("gpt2"), tokenizer, patches=patches, audit=audit, encoder=encoder,
                     gate=gate)
        )  # fmt: skip
        return made[-1]

    yield open_model
    for model in made:
        model.close()


def run(*arguments, code=0, typed=None):
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=typed)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_a_false_hit_is_a_listed_example_afterwards_and_decides(opened, folder, tmp_path):
    log = tmp_path / "log.sqlite3"
    model = opened(folder, AuditConfig(log, flush_seconds=0.0))
    for query in (CLOSE, CLOSE, CAPITAL, OTHER):
        model.ask(query, max_new_tokens=8)
    assert model.explain(CLOSE).hit, "the false hit"
    assert model.audit.flush()
    listed = json.loads(run("triage", log, "--patches", folder, "--all", "--json").stdout)
    assert [(case["query"], case["count"], case["outcome"]) for case in listed] == [
        (CLOSE, 2, "hit")
    ]
    shown = run("triage", log, "--patches", folder, "--all", typed="maybe\nn\n")
    assert "1 example added" in shown.stdout and f"{folder}/x.yaml:2" in shown.stdout
    assert (folder / "x.yaml").read_text() == (PATCH + f"  tests:\n    silent:\n      - {CLOSE}\n")
    assert model.reload().changed
    decision = model.explain(CLOSE)
    assert not decision.hit and decision.candidates[0].listed == "silent"
    assert model.explain(CAPITAL).hit
    assert "nothing to decide" in run("triage", log, "--patches", folder, "--all").stdout


def test_the_log_is_listed_as_text_json_and_csv(opened, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    log = tmp_path / "log.sqlite3"
    model = opened(folder, AuditConfig(log, flush_seconds=0.0))
    model.ask_many([CAPITAL, OTHER], max_new_tokens=8)
    assert model.audit.flush()
    text = run("log", log).stdout
    assert CAPITAL in text and "x.yaml:2" in text and "2 decisions of 2" in text
    rows = json.loads(run("log", log, "--json", "--since", "1h", "--last", "1").stdout)
    assert [row["query"] for row in rows] == [OTHER] and rows[0]["fired"] == []
    rows = json.loads(run("log", log, "--json", "--patch", "x.yaml", "--route", "verbatim").stdout)
    assert rows[0]["fired"][0]["location"] == f"{folder}/x.yaml:2"
    table = list(csv.DictReader(io.StringIO(run("log", log, "--csv").stdout)))
    assert [row["query"] for row in table] == [CAPITAL, OTHER]
    assert table[0]["fired"] == f"{folder}/x.yaml:2"
    assert run("log", log, "--since", "2200-01-01", "--json").stdout.strip() == "[]"
    header = run("log", log, "--since", "2200-01-01", "--csv").stdout
    assert header.startswith("time,query,route") and header.count("\n") == 1
    assert "--until" in run("log", log, "--until", "yesterday", code=2).stderr
    assert "expected verbatim" in run("log", log, "--route", "bas", code=2).stderr
    assert "no file" in run("log", tmp_path / "none", code=1).stderr


def test_a_listed_query_cannot_steer_the_terminal(tmp_path):
    log = tmp_path / "log.sqlite3"
    database = AuditDatabase(AuditConfig(log, retention_days=None))
    database.write([LoggedDecision(0.0, "\x1b[2Jone\ntwo \x9b31m", "base")])
    database.close()
    shown = run("log", log).stdout
    assert "base      \\u001b[2Jone two \\u009b31m\n" in shown
    (row,) = json.loads(run("log", log, "--json").stdout)
    assert row["query"] == "\x1b[2Jone\ntwo \x9b31m"


def test_triage_never_writes_to_the_starter_patches(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log.sqlite3"
    AuditDatabase(AuditConfig(log)).prepare()
    assert (
        "patches: expected a folder of patches, found nothing" in run("triage", log, code=1).stderr
    )


def test_replay_lists_what_another_folder_would_answer_otherwise(
    opened, folder, tmp_path, monkeypatch
):
    log = tmp_path / "log.sqlite3"
    model = opened(folder, AuditConfig(log, flush_seconds=0.0))
    model.ask_many([CAPITAL, CAPITAL, OTHER], max_new_tokens=8)
    assert model.audit.flush()
    monkeypatch.setattr(opening, "open_model", lambda name, patches, *rest: opened(patches))
    same = run("replay", log, "--patches", folder)
    assert "0 of 3 decisions" in same.stdout
    new = tmp_path / "new"
    new.mkdir()
    (new / "y.yaml").write_text("# a note\n" + PATCH + "  source: moved, and no more\n")
    run("replay", log, "--patches", new)
    (new / "y.yaml").write_text(PATCH.replace("Astana", "Akmola"))
    told = run("replay", log, "--patches", new, code=1).stdout
    assert f"{CAPITAL} (2 times)" in told and "y.yaml:2" in told and "2 of 3 decisions" in told
    (folder / "x.yaml").write_text(PATCH.replace("Astana", "Akmola"))
    told = run("replay", log, "--patches", folder, code=1).stdout.splitlines()
    assert told[2] == f"{told[1].replace('  - ', '  + ')}, which says something else"
    (new / "y.yaml").write_text(f"- question: {OTHER}\n  answer: grass\n")
    found = json.loads(run("replay", log, "--patches", new, "--json", code=1).stdout)
    assert found["replayed"] == found["different"] == 3
    after = {one["query"]: one["after"]["route"] for one in found["queries"]}
    assert after == {CAPITAL: "base", OTHER: "verbatim"}
    (new / "y.yaml").write_text("- question: x\n")
    assert "answer" in run("replay", log, "--patches", new, code=2).stderr
    error = json.loads(run("replay", tmp_path / "none", "--patches", new, "--json", code=2).stdout)
    assert "no file" in error["error"]["message"]


def test_conversations_with_one_outcome_are_one_line():
    before, after = Verdict("base", (), None, "q"), Verdict("refuse", (), None, "q")
    one, two = ReplayedQuery("q", 1, before, after), ReplayedQuery("q", 2, before, after)
    other = ReplayedQuery("q", 1, after, before)
    assert merged([one, other, two]) == [ReplayedQuery("q", 3, before, after), other]


def test_hashes_can_be_listed_and_not_asked_again(folder, tmp_path):
    log = tmp_path / "log.sqlite3"
    database = AuditDatabase(AuditConfig(log, queries="hash", retention_days=None))
    database.write([LoggedDecision(0.0, "q", "base")])
    database.close()
    assert "1 decision of 1" in run("log", log).stdout
    assert "hashes" in run("triage", log, "--patches", folder, code=1).stderr
    assert "hashes" in run("replay", log, "--patches", folder, code=2).stderr


def near(query, probability, patch, threshold=0.6):
    return LoggedDecision(0.0, query, "base", runner_up=patch, runner_up_probability=probability,
                          runner_up_threshold=threshold)  # fmt: skip


def hit(query, probability, patch, threshold=0.6, listed=False):
    return LoggedDecision(0.0, query, "verbatim", fired=(patch,), probability=probability,
                          threshold=threshold, listed=listed)  # fmt: skip


def test_the_most_doubtful_comes_first_and_the_sure_ones_not_at_all():
    edit = Fact("zebra?", "black", location=SourceLocation("zoo.yaml", 3))
    patch = LoggedPatch(edit.id, "fact", "zoo.yaml:3", "zebra?")
    renamed = LoggedPatch("fact-0", "fact", "zoo.yaml:9", "zebra?")
    gone = LoggedPatch("fact-1", "fact", "zoo.yaml:9", "gone?")
    logged = [
        near("far", 0.1, patch), near("near", 0.4, patch), near("nearer", 0.59, renamed),
        near("gone", 0.59, gone), hit("narrow", 0.65, patch), hit("sure", 0.99, patch),
        hit("listed", 1.0, patch, listed=True), hit("Zebra?", 0.61, patch),
    ]  # fmt: skip
    cases = triage_cases(logged, [edit])
    assert [case.query for case in cases] == ["nearer", "narrow", "near"]
    cases = triage_cases(logged, [edit], TriageConfig(near=0.9, margin=0.0, all_hits=True))
    assert [case.query for case in cases] == ["nearer", "narrow", "sure"]


def test_a_question_of_another_patch_is_no_near_miss():
    edit = Fact("zebra?", "black", location=SourceLocation("zoo.yaml", 3))
    other = Fact("Owl?", "hoo", tests=PatchTests(("an owl",)), location=SourceLocation("b.yaml", 1))
    patch = LoggedPatch(edit.id, "fact", "zoo.yaml:3", "zebra?")
    logged = [near("owl", 0.5, patch), near("An owl?", 0.5, patch), hit("Owl", 0.65, patch)]
    assert len(triage_cases(logged, [edit])) == 3
    (case,) = triage_cases(logged, [edit, other])
    assert case.outcome == "hit"  # a false one: to be listed under silent


def test_triage_writes_what_is_chosen_and_stops_where_told(folder, tmp_path):
    log = tmp_path / "log.sqlite3"
    (edit,) = load_folder(folder)
    patch = LoggedPatch(edit.id, "fact", str(edit.location), edit.scope)
    database = AuditDatabase(AuditConfig(log, retention_days=None))
    database.write([near(f"question {n}", 0.59 - n / 100, patch) for n in range(4)])
    database.close()
    shown = run("triage", log, "--patches", folder, typed="y\ns\nn\nq\n").stdout
    assert "2 examples added; 4 cases" in shown and "added under fires" in shown
    (edit,) = load_folder(folder)
    assert edit.tests.fires == ("question 0",) and edit.tests.silent == ("question 2",)
    shown = run("triage", log, "--patches", folder, typed="")
    assert "0 examples added; 2 cases" in shown.stdout, "the end of the input ends it"
