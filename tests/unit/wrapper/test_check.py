"""``errata check``: what it finds, and the reports that others read. The model is a stand-in."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from errata.cache.errors import ErrataError, StoreError
from errata.cache.patches import folder as folders
from errata.cache.patches.files import load_folder
from errata.cache.patches.folder import PatchFolder
from errata.cache.records import Fact, LanguagePatch
from errata.cli import app
from errata.commands import opening
from errata.gates.base import Candidate, Decision
from errata.gates.conditions.parse import read_condition
from errata.output import Answer, Trace
from errata.patch_tests.changed import changed_since
from errata.patch_tests.examples import decider, proposals
from tests.fakes import StubEncoder

ROOT = Path(__file__).parents[3]
ZOO = """\
- question: What colour is a zebra's skin?
  answer: black
  tests:
    fires: [Tell me the skin colour of a zebra.]
    silent: [What do zebras eat?]
    expect: {'And a shaved zebra?': black}
"""


class TableGate:
    """Decides as the model whose gate it is."""

    def __init__(self, model: TableModel) -> None:
        self.model = model

    def decide_batch(self, queries, hits):
        found = []
        for query, (hit,) in zip(queries, hits, strict=True):
            decision = self.model._decide(query.text)
            candidates = [one for one in decision.candidates if one.edit_id == hit.edit.id]
            found.append(replace(decision, candidates=tuple(candidates)))
        return found


class TableModel:
    """Fires a fact on its question and its `fires`, and on what ``pairs`` says.

    :param pairs: probabilities of other queries and questions.
    """

    encoder = StubEncoder()

    def __init__(
        self, files: PatchFolder, pairs: dict[tuple[str, str], float] | None = None
    ) -> None:
        self.edits = [edit for edit in files.edits if isinstance(edit, Fact)]
        self.pairs = pairs or {}
        self.asked: list[str] = []
        self.gate = TableGate(self)

    def decide(self, texts):
        return [self._decide(text) for text in texts]

    def _decide(self, text):
        self.asked.append(text)
        candidates, fired = [], []
        for edit in self.edits:
            known = 1.0 if text in edit.examples else self.pairs.get((text, edit.question), 0.1)
            candidates.append(
                Candidate(edit.id, "fact", edit.scope, known, 0.5, "paraphrase", edit.location)
            )
            fired += [edit] if known >= 0.5 else []
        route = "verbatim" if fired else "base"
        return Decision(text, tuple(candidates), tuple(fired), route)

    def close(self):
        self.closed = True

    def ask_many(self, texts):
        decisions = self.decide(texts)
        return [
            Answer(one.fired[0].answer if one.fired else "pink", one, Trace((one,)))
            for one in decisions
        ]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with a folder of patches, committed, as the working folder."""
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "zoo.yaml").write_text(ZOO)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    git("init", "-q", "-b", "main")
    commit("patches")
    return tmp_path


def git(*arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(message: str) -> None:
    git("add", "-A")
    git("commit", "-qm", message)


@pytest.fixture
def models(monkeypatch):
    """Open stand-ins; the list of those opened, and the pairs that they know."""
    opened: list[TableModel] = []
    pairs = {("And a shaved zebra?", "What colour is a zebra's skin?"): 0.9}

    def open_table(model, files, *others, **options):
        opened.append(TableModel(files, pairs))
        return opened[-1]

    monkeypatch.setattr(opening, "open_checked", open_table)
    monkeypatch.setenv("COLUMNS", "200")
    opened_pairs = (opened, pairs)
    return opened_pairs


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_problems_stand_under_their_patch_with_what_to_do(repository, models):
    (repository / "patches" / "zoo.yaml").write_text(ZOO.replace("'And", "'Or"))
    shown = run("check", code=1).stdout.splitlines()
    at = shown.index("patches/zoo.yaml:1  What colour is a zebra's skin?")
    assert shown[at + 1].startswith("  patches/zoo.yaml:6: error: answers 'pink' to 'Or a shaved")
    assert "expected 'black' in it" in shown[at + 1]
    assert shown[at + 2].startswith("      do: no patch fires: list the question under `fires`")
    assert shown[-1] == "patches: 1 patch, 4 tests, 1 error, 0 warnings"


def test_a_patch_is_never_said_to_fire_in_its_own_stead(repository, models):
    (repository / "patches" / "b.yaml").write_text(
        "- {question: 'What colour is a zebra''s hide?', answer: black, priority: 1}\n"
    )
    models[1][("Tell me the skin colour of a zebra.", "What colour is a zebra's hide?")] = 0.9
    shown = run("check", code=1).stdout
    assert "does not fire on 'Tell me the skin colour of a zebra.' (probability 1.000" in shown
    assert "; patches/b.yaml:1 (0.900) fires instead\n" in shown
    assert "do: say which is meant by priority or supersedes" in shown


def test_the_gate_finds_contradictions_that_texts_do_not_show(repository, models):
    (repository / "patches" / "zzz.yaml").write_text(
        "- {question: 'What is the colour of the skin of a zebra?', answer: white}\n"
    )
    one, two = "What colour is a zebra's skin?", "What is the colour of the skin of a zebra?"
    models[1][one, two] = 0.8
    assert "for one question" not in run("check").stdout, "one direction is a false hit"
    models[1][two, one] = 0.7
    shown = run("check", code=1).stdout
    assert "patches/zzz.yaml:1: error: the gate takes" in shown
    assert "patches/zoo.yaml:1" in shown and "0.800" in shown and "0.700" in shown
    (repository / "patches" / "zzz.yaml").write_text(
        "- {question: 'What is the colour of the skin of a zebra?', answer: white, priority: 1}\n"
    )
    assert "for one question" not in run("check", code=1).stdout


def test_a_patch_without_tests_gets_questions_to_try(repository, models):
    (repository / "patches" / "b.yaml").write_text(
        "- {question: What colour is a panda?, answer: black and white}\n"
    )
    (repository / "patches" / "c.jsonl").write_text(
        '{"question": "What is a?", "answer": "b"}\n{"question": "What is c?", "answer": "d"}\n'
    )
    said = json.loads(run("check", "--no-tests", "--json").stdout)
    by_place = {one["location"]: one["message"] for one in said["problems"]}
    assert "has no tests" in by_place["patches/b.yaml:1"]
    assert "fires: ['Can you tell me: What colour is a panda?']" in by_place["patches/b.yaml:1"]
    assert "'What colour is a zebra''s skin?'" in by_place["patches/b.yaml:1"]
    assert "2 of 2 patches of this file have no tests" in by_place["patches/c.jsonl:1"]


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("the text contains the word 'refund'", "a rule decides the condition: it holds where the "
         "query contains 'refund'"),
        ("the question is in Chinese", "a rule decides the condition, by the form"),
        ("the user asks who made you", "the gate decides the condition, as it decides about the "
         "question 'who made you'"),
        ("the user asks about refunds", "as a topic: 'refunds'"),
        ("a review says the food is bomb", "as a statement: 'the food is bomb'"),
    ],
)  # fmt: skip
def test_what_decides_a_condition(condition, says):
    assert says in decider(LanguagePatch(condition, 'say "x"'))


@pytest.mark.parametrize("quoted", ["'refund'", '"refund"', "refund"])
def test_a_word_may_stand_in_any_quotation_marks(quoted):
    condition = read_condition(f"the text contains the word {quoted}")
    assert condition.holds("I want a refund now") and not condition.holds("I want a fund")


# -- what changed ------------------------------------------------------------------------------


def test_only_what_changed_is_tested(repository, models):
    facts = [{"question": f"What is {n}?", "answer": f"a{n}"} for n in range(40)]
    bulk = repository / "patches" / "bulk.jsonl"
    bulk.write_text("".join(f"{json.dumps(one)}\n" for one in facts))
    commit("bulk")
    facts[7]["answer"] = "another"
    bulk.write_text("".join(f"{json.dumps(one)}\n" for one in reversed(facts)))
    (repository / "patches" / "new.yaml").write_text("- {question: What is new?, answer: x}\n")
    edits = load_folder("patches")
    changed = changed_since(Path("patches"), "main", edits)
    assert {e.scope for e in edits if e.id in changed} == {"What is 7?", "What is new?"}
    said = json.loads(run("check", "--changed-since", "main", "--json").stdout)
    assert [one["asked"] for one in said["results"]] == ["What is 7?", "What is new?"]
    commit("both")
    models[0].clear()
    assert "42 patches, 0 tests" in run("check", "--changed-since", "HEAD").stdout
    assert not models[0], "nothing changed, so no model is needed"
    git("mv", "patches/zoo.yaml", "patches/animals.yaml")
    assert not changed_since(Path("patches"), "HEAD", load_folder("patches")), "only moved"


def test_of_many_claims_the_surest_are_asked_the_other_way_round(repository, models):
    rows = [{"question": f"What is {n}?", "answer": f"{n}"} for n in range(12)]
    file = repository / "patches" / "bulk.jsonl"
    file.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    commit("bulk")
    new = "What on earth is it?"
    (repository / "patches" / "new.yaml").write_text(f"- {{question: {new}, answer: x}}\n")
    models[1].update({(new, one["question"]): 0.9 - n / 100 for n, one in enumerate(rows)})
    models[1].update({(rows[n]["question"], new): 0.7 for n in (1, 4, 5, 6, 7)})
    shown = run("check", "--changed-since", "main", code=1).stdout
    named = re.findall(r"error: the gate takes .* at patches/bulk.jsonl:(\d+), for one", shown)
    assert named == ["2", "5", "6"], "the surest of those that hold both ways"
    asked = models[0][0].asked
    assert asked[0] == new and asked[1:] == [rows[n]["question"] for n in range(6)]


def test_a_contradiction_with_what_did_not_change_is_found(repository, models):
    (repository / "patches" / "b.yaml").write_text(
        "- {question: 'What is the colour of the skin of a zebra?', answer: white}\n"
        "- {question: 'what colour is a ZEBRA''S skin', answer: white}\n"
    )
    one, two = "What colour is a zebra's skin?", "What is the colour of the skin of a zebra?"
    models[1].update({(one, two): 0.8, (two, one): 0.8})
    shown = run("check", "--changed-since", "main", code=1).stdout
    assert "is answered 'white' here and 'black' at patches/zoo.yaml:1" in shown
    assert "the gate takes" in shown
    assert "Tell me the skin colour of a zebra." not in models[0][0].asked


@pytest.mark.parametrize("revision", ["nowhere", "--output=x", "HEAD~9"])
def test_a_revision_that_is_none(repository, models, revision):
    with pytest.raises(ErrataError, match="expected a revision of its git repository"):
        changed_since(Path("patches"), revision, load_folder("patches"))
    assert not (repository / "patches" / "x").exists()


def test_files_are_tested_alone_and_compared_with_their_folder(repository, models):
    (repository / "patches" / "b.yaml").write_text(
        "- {question: What colour is a zebra's skin?, answer: white}\n"
    )
    shown = run("check", "patches/b.yaml", code=1).stdout
    assert "'black' at patches/zoo.yaml:1" in shown
    assert models[0][0].asked == ["What colour is a zebra's skin?"] * len(models[0][0].asked)
    assert "found nothing at nowhere.yaml" in run("check", "nowhere.yaml", code=1).stderr


# -- a pull request as it would be -------------------------------------------------------------


def workflow_command() -> list[str]:
    """The command of the workflow that users copy, as its shell would read it."""
    text = (ROOT / "docs" / "examples" / "patches.yml").read_text("utf-8")
    workflow = YAML(typ="safe", pure=True).load(text)
    steps = workflow["jobs"]["check"]["steps"]
    (step,) = [step for step in steps if step.get("name") == "check"]
    assert step["env"] == {"BASE": "origin/${{ github.base_ref }}"}
    assert steps[0]["with"]["fetch-depth"] == 0
    assert workflow["permissions"] == {"contents": "read"}
    name, *arguments = shlex.split(os.path.expandvars(step["run"]))
    assert name == "errata"
    return arguments


def test_a_pull_request_as_it_would_be(repository, models, monkeypatch):
    monkeypatch.setenv("BASE", "main")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(repository))
    git("checkout", "-qb", "good")
    (repository / "patches" / "birds.yaml").write_text(
        "- question: Can ostriches fly?\n  answer: 'no'\n"
        "  tests: {fires: [Do ostriches fly?], silent: [Can owls fly?]}\n"
    )
    commit("ostriches")
    shown = run(*workflow_command()).stdout
    assert "::" not in shown and "2 patches, 3 tests, 0 errors" in shown
    suites = ElementTree.parse("report.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("3", "0")
    assert [case.get("name") for case in suites.iter("testcase")] == [
        "fires: Can ostriches fly?", "fires: Do ostriches fly?", "silent: Can owls fly?",
    ]  # fmt: skip

    git("checkout", "-qb", "bad", "main")
    (repository / "patches" / "birds.yaml").write_text(
        "- question: Can ostriches fly?\n  answer: 100%, they can\n"
        "  tests:\n    fires:\n      - Do ostriches fly?\n    silent:\n      - Can owls fly?\n"
        "- question: What colour is a zebra's skin?\n  answer: white\n"
    )
    models[1]["Can owls fly?", "Can ostriches fly?"] = 0.9
    commit("birds")
    shown = run(*workflow_command(), code=1).stdout
    errors = [line for line in shown.splitlines() if line.startswith("::error ")]
    assert len(errors) == 2 and "and 'black' at patches/zoo.yaml:1" in errors[1]
    assert errors[0].startswith(
        "::error file=patches/birds.yaml,line=7,title=errata check::fires on 'Can owls fly?', a"
    )
    assert any(line.startswith("::error file=patches/birds.yaml,line=8,") for line in errors)
    root = ElementTree.parse("report.xml").getroot()
    failed = [case for case in root.iter("testcase") if case.find("failure") is not None]
    assert int(root.get("failures") or 0) == len(failed) >= 2
    owls = next(case for case in failed if case.get("name") == "silent: Can owls fly?")
    assert owls.get("file") == "patches/birds.yaml" and owls.get("line") == "7"
    assert "probability 0.900, from 0.500 on" in (owls.find("failure").get("message") or "")


def test_annotations_and_reports_hold_any_text(repository, models):
    (repository / "patches" / "a,b:c.yaml").write_text(
        '- question: "100%\\nWho?"\n  answer: a\n  tests: {silent: ["x\\0"]}\n'
    )
    models[1]["x\0", "100%\nWho?"] = 0.9
    shown = run("check", "--github", "--junit", "r.xml", code=1).stdout
    assert "::error file=patches/a%2Cb%3Ac.yaml,line=3,title=errata check::fires on" in shown
    assert ElementTree.parse("r.xml").getroot().get("failures") == "1"
    run("check", "--junit", "nowhere/r.xml", code=1)


def test_half_a_character_can_be_printed(repository, models):
    (repository / "patches" / "a.jsonl").write_text('{"question": "q", "\\ud800": "\\udfff"}\n')
    assert "ud800" in run("check", code=1).stdout
    assert "ud800" in json.loads(run("check", "--json", code=1).stdout)["problems"][0]["message"]


def test_the_hooks_of_pre_commit_are_commands_that_take_files(repository, models):
    hooks = YAML(typ="safe", pure=True).load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert [hook["id"] for hook in hooks] == ["errata-check", "errata-fmt"]
    for hook in hooks:
        name, *arguments = shlex.split(hook["entry"])
        assert name == "errata" and hook["language"] == "python"
        assert re.search(hook["files"], "patches/zoo.yaml")
        run(*arguments, "patches/zoo.yaml")
    (repository / "patches" / "zoo.yaml").write_text("- question: a\n  anwser: b\n")
    for hook in hooks:
        run(*shlex.split(hook["entry"])[1:], "patches/zoo.yaml", code=1)


def test_a_patchs_own_question_is_not_proposed_as_silent():
    fact = Fact("What is the capital of Palau?", "Ngerulmud")
    other = "What is the capital of Peru?"
    fires, silent = proposals(fact, lambda edit, most: ["what is the capital of palau", other])
    assert silent == [other] and fires


@pytest.mark.parametrize("full", [False, True])
def test_a_check_keeps_encodings_where_it_can(tmp_path, monkeypatch, full):
    monkeypatch.setenv("ERRATA_CACHE", str(tmp_path / "cache"))
    opened = []

    def open_model(model, patches, cache, *others, **options):
        opened.append(cache)
        if full and cache is not None:
            raise StoreError("no room")
        return model

    monkeypatch.setattr(opening, "open_model", open_model)
    (tmp_path / "patches").mkdir()
    (tmp_path / "x").mkdir()
    assert opening.open_checked("atlas", PatchFolder(tmp_path / "patches")) == "atlas"
    opening.open_checked("atlas", PatchFolder(tmp_path / "x" / ".." / "patches"))
    kept = opened[0]
    assert kept is not None and kept.parent == tmp_path / "cache" / "check"
    assert opened == ([kept, None] * 2 if full else [kept] * 2)


def test_encodings_of_folders_that_are_checked_no_more_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("ERRATA_CACHE", str(tmp_path))
    kept = []

    def check_of(folder):
        folder.mkdir(exist_ok=True)
        opening.open_checked("atlas", PatchFolder(folder))

    monkeypatch.setattr(opening, "open_model", lambda model, patches, cache, *rest, **more:
                        kept.append(cache))  # fmt: skip
    for name in ("old", "new"):
        check_of(tmp_path / name)
        kept[-1].mkdir(parents=True)
    old, new = kept
    days = 86_400
    os.utime(old, (0, time.time() - 91 * days))
    os.utime(new, (0, time.time() - 89 * days))
    check_of(tmp_path / "other")
    assert not old.exists() and new.exists()
    check_of(tmp_path / "new")
    assert time.time() - new.stat().st_mtime < days  # used today


def test_a_file_that_is_never_read_is_not_passed(repository, models):
    (repository / "patches" / "notes.txt").write_text("notes")
    (repository / "patches" / "_draft.yaml").write_text("- question: [")
    wrong = run("check", "patches/notes.txt", code=1).stderr
    assert "notes.txt: expected a patch file, which ends in .yaml, .yml or .jsonl" in wrong
    shown = run("check", "patches/_draft.yaml", "patches/zoo.yaml")
    assert "patches/_draft.yaml: skipped" in shown.stderr and "1 patch, 4 tests" in shown.stdout
    assert not run("check", "patches/_draft.yaml").stdout


def test_a_folder_that_nobody_named_is_named(repository, models, monkeypatch):
    (repository / "elsewhere").mkdir()
    monkeypatch.chdir(repository / "elsewhere")
    shown = run("check", "--no-tests")
    assert "no folder patches here: checking " in shown.stderr and "0 errors" in shown.stdout


def test_a_check_reads_the_folder_once(repository, models, monkeypatch):
    read = []
    load = folders.load_folder
    monkeypatch.setattr(folders, "load_folder", lambda path: read.append(path) or load(path))
    run("check")
    assert read == [Path("patches")] and models[0][0].edits


def test_a_check_closes_its_model(repository, models):
    run("check")
    assert models[0][0].closed
