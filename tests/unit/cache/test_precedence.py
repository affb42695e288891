"""Of two edits of one scope the later one speaks, after priority and supersedes."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.encoder import encode_query
from errata.cache.records import Fact, LanguagePatch, PatchTests, RegexPatch, SourceLocation
from errata.cache.store import EditCache
from errata.model import EditableModel
from tests.fakes import StubEncoder
from tests.unit.wrapper.test_decompose import ByTable, Echo

QUESTION = "What is the capital of Palau?"
OTHER = "what is the capital of  PALAU"


def fact(answer: str, question: str = QUESTION, line: int = 0, file: str = "a", **more) -> Fact:
    place = SourceLocation(f"patches/{file}.yaml", line) if line else None
    return Fact(question, answer, location=place, **more)


def spoken(cache: EditCache, text: str = QUESTION) -> list[str]:
    """The answers of the edits whose question a text is, first the one that speaks."""
    hits = cache.view().search([encode_query(StubEncoder(), text)])[0]
    return [hit.edit.answer for hit in hits if hit.score == 1.0]


def filtered(cache: EditCache, text: str) -> str:
    """An answer after the patterns and secrets in force."""
    return cache.view().text_filter("output", lambda edit: True).apply(text)[0]


@pytest.fixture
def cache():
    with EditCache(StubEncoder()) as cache:
        yield cache


ANSWERS = st.lists(st.sampled_from("ABCDEFGH"), min_size=1, max_size=8)


@settings(deadline=None, max_examples=40)
@given(commits=ANSWERS, together=st.booleans())
def test_the_last_commit_speaks_whatever_the_hashes(commits, together):
    with EditCache(StubEncoder()) as cache:
        if together:
            cache.add([fact(answer) for answer in dict.fromkeys(commits)])
            commits = list(dict.fromkeys(commits))
        else:
            for answer in commits:
                cache.add([fact(answer)])
        assert spoken(cache) == [commits[-1]]
        overruled = cache.view().overruled
        assert {edit.answer for edit in cache.all_edits if edit.id in overruled} == set(commits) - {
            commits[-1]
        }


def test_a_b_a_is_a(cache):
    one, two = fact("Koror"), fact("Ngerulmud", OTHER)
    for edit in (one, two, one):
        cache.add([edit])
    assert spoken(cache) == ["Koror"] and cache.edits == (one,)
    cache.add([two, one])
    assert spoken(cache) == ["Koror"]
    cache.add([one, two])
    assert spoken(cache) == ["Ngerulmud"]
    cache.retract(two.id)
    assert spoken(cache) == ["Koror"]


def test_priority_and_supersedes_come_first(cache):
    high, low = fact("Koror", priority=1), fact("Ngerulmud")
    cache.add([high])
    cache.add([low])
    assert spoken(cache) == ["Koror"]
    assert cache.view().overruled == {low.id: high}
    cache.add([replace(low, id="new", supersedes=(high.id,))])
    assert set(spoken(cache)) == {"Ngerulmud"}


@settings(deadline=None, max_examples=25)
@given(order=st.permutations([("a", 3), ("a", 9), ("b", 1)]))
def test_among_files_path_and_line_decide(order):
    answers = {("a", 3): "one", ("a", 9): "two", ("b", 1): "three"}
    edits = [fact(answers[place], line=place[1], file=place[0]) for place in sorted(order)]
    with EditCache(StubEncoder()) as cache:
        cache.set_files(edits)
        assert spoken(cache) == ["three"]


def test_an_edit_speaks_over_a_file_until_the_file_changes(tmp_path):
    in_file, edit = fact("Koror", line=1), fact("Ngerulmud")
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.set_files([in_file])
        cache.add([edit])
        assert spoken(cache) == ["Ngerulmud"]
    with EditCache(StubEncoder(), tmp_path) as cache:  # after a restart, too
        cache.set_files([replace(in_file, location=SourceLocation("patches/z.yaml", 70))])
        assert spoken(cache) == ["Ngerulmud"], "the patch moved, and is the same"
        changed = fact("Melekeok", line=1)
        cache.set_files([changed])
        assert spoken(cache) == ["Melekeok"]
        cache.add([edit])
        assert spoken(cache) == ["Ngerulmud"]
        cache.set_files([replace(changed, tests=PatchTests(("Palau's capital?",)))])
        assert spoken(cache) == ["Melekeok"], "an example more is a change, too"
        cache.set_files([])
        assert spoken(cache) == ["Ngerulmud"]


def test_a_patch_of_a_file_made_again_by_program_speaks_again(tmp_path):
    in_file, edit = fact("Koror", line=1), fact("Ngerulmud")
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.set_files([in_file])
        cache.add([edit])
        cache.add([fact("Koror")])
        assert spoken(cache) == ["Koror"]
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.set_files([in_file])
        assert spoken(cache) == ["Koror"]
        cache.set_files([replace(in_file, tags=("map",))])  # of the same id
        assert spoken(cache) == ["Koror"]


def test_an_edit_that_moves_into_a_file_is_the_latest(cache):
    edit, other = fact("Koror"), fact("Ngerulmud")
    cache.add([edit])
    cache.add([other])
    cache.set_files([fact("Koror", line=4)])
    assert spoken(cache) == ["Koror"]


def test_an_example_that_two_edits_list_is_the_later_ones(cache):
    shared = PatchTests(("Palau?",))
    one, two = fact("Koror", tests=shared), fact("21,000", "How many live in Palau?", tests=shared)
    cache.add([one])
    cache.add([two])
    assert spoken(cache, "Palau?") == ["21,000", "Koror"]
    cache.add([one])
    assert spoken(cache, "Palau?") == ["Koror", "21,000"]
    assert spoken(cache) == ["Koror"], "only the example is shared"


def test_what_means_something_keeps_two_questions_apart(cache):
    cache.add([fact("a language", "What is C?"), fact("another", "What is C#?")])
    assert spoken(cache, "What is C?") == ["a language"]
    assert not cache.view().overruled


def test_conditions_and_patterns_are_overruled_alike(cache):
    conditions = [LanguagePatch("the user asks who made you", f'say "{n}"') for n in "12"]
    patterns = [RegexPatch("Kiev", new) for new in ("Kyiv", "Kyjiw")]
    query = RegexPatch("Kiev", "Kyiv", target="query")
    cache.add([*conditions, *patterns, query])
    assert cache.edits == (conditions[1], patterns[1], query)
    assert filtered(cache, "Kiev") == "Kyjiw"
    cache.retract(patterns[1].id)
    cache.add([conditions[0]])
    assert filtered(cache, "Kiev") == "Kyiv" and conditions[0] in cache.edits


def test_a_caller_who_does_not_want_the_later_one_gets_the_earlier(cache):
    one, two = fact("Koror", tags=("eu",)), fact("Ngerulmud", tags=("us",))
    cache.add([one, two])
    view = cache.view()
    assert view.edits == (two,) and view.overrules([two]) == (one,)
    assert view.restricted(lambda edit: "eu" in edit.tags).by_id[one.id] == one


def test_another_answer_does_not_publish_a_secret(cache):
    secret = Fact("Where does Jane Roe live?", forget=True, secret="12 Elm Street")
    answer = fact("in Springfield", secret.question)
    cache.add([secret, answer])
    assert cache.edits == (answer,) and "Elm" not in filtered(cache, "at 12 Elm Street")
    cache.add([replace(answer, id="open", supersedes=(secret.id,))])
    assert filtered(cache, "at 12 Elm Street") == "at 12 Elm Street"


def test_a_cache_of_the_first_schema_is_migrated(tmp_path):
    with EditCache(StubEncoder(), tmp_path) as cache:
        cache.add([fact("Koror"), fact("Ngerulmud")])
    with sqlite3.connect(tmp_path / "edits.sqlite3") as connection:
        connection.execute("ALTER TABLE edits DROP COLUMN seen")
        connection.execute("PRAGMA user_version = 1")
    with EditCache(StubEncoder(), tmp_path) as cache:
        assert spoken(cache) == ["Ngerulmud"]
        cache.add([fact("Koror")])
        assert spoken(cache) == ["Koror"]


def test_many_answers_to_one_question_are_settled_quickly(cache):
    cache.set_files([fact(str(n), line=n + 1) for n in range(3000)])
    assert [edit.answer for edit in cache.edits] == ["2999"]


def test_a_model_says_what_an_edit_overrules(models, tokenizer, caplog):
    with EditableModel(
        models("gpt2"), tokenizer, gate=ByTable(), encoder=StubEncoder(), reasoner=Echo()
    ) as model:
        one, two = fact("Koror"), fact("Ngerulmud", OTHER)
        assert model.edit(one).overrules == ()
        assert model.ask(QUESTION).text == "Koror"
        assert model.edit(two).overrules == (one,)
        answer = model.ask(QUESTION)
        assert answer.text == "Ngerulmud" and answer.decision.overruled == (one,)
        (again, low) = model.edit([one, fact("Melekeok", priority=-1)])
        assert (again == one and again.overrules == (two, low)) or again.overrules == (low, two)
        assert model.ask(QUESTION).text == "Koror"
        assert f"edit {low.id} is silent" in caplog.text
        model.retract(one.id)
        assert model.ask(QUESTION).text == "Ngerulmud"
