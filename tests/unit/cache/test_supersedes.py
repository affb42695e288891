"""Superseding: an edit is out of force while one that supersedes it is in force and allowed."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from errata import EditableModel, Fact, RegexPatch
from errata.cache.encoder import encode_query
from errata.cache.records import LanguagePatch
from errata.cache.store import EditCache
from errata.cache.view import View, in_force
from tests.fakes import StubEncoder
from tests.unit.wrapper.test_decompose import ByTable, Echo

TODAY = datetime.date.today()
DAY = datetime.timedelta(days=1)
OLD = Fact("Who leads Quill?", "Ann", id="old", tags=("a", "first"))
NEW = Fact("Who leads Quill today?", "Ben", id="new", tags=("b",), supersedes=("old",))
NEWEST = Fact("Who leads Quill now?", "Cem", id="newest", tags=("c",), supersedes=("old", "new"))


@pytest.fixture
def cache():
    with EditCache(StubEncoder()) as cache:
        yield cache


def tagged(*tags):
    return lambda edit: bool(set(tags) & set(edit.tags))


def found(view: View, text: str = OLD.question, only=None) -> set[str]:
    return {hit.edit.id for hit in view.search([encode_query(StubEncoder(), text)], only=only)[0]}


def test_a_superseded_edit_is_found_again_once_the_other_is_retracted(cache):
    cache.add([OLD])
    assert found(cache.view()) == {"old"}
    cache.add([NEW])
    assert found(cache.view()) == {"new"} and cache.edits == (NEW,)
    cache.retract("new")
    assert found(cache.view()) == {"old"} and cache.edits == (OLD,)


def test_an_edit_that_is_not_allowed_supersedes_nothing(cache):
    cache.add([OLD, NEW])
    view = cache.view()
    for allowed, expected in ((tagged("a"), {"old"}), (tagged("a", "b"), {"new"})):
        assert found(view.restricted(allowed), only=allowed) == expected
    assert found(view, only=tagged("a")) == set()  # `only` narrows what is found
    assert view.restricted(lambda edit: True) is view
    assert view.restricted(tagged("a")) is view.restricted(tagged("a", "x"))  # kept


def test_of_three_the_newest_allowed_is_in_force(cache):
    cache.add([OLD, NEW, NEWEST])
    view = cache.view()
    assert view.edits == (NEWEST,)
    assert found(view.restricted(tagged("a", "b")), only=tagged("a", "b")) == {"new"}
    assert found(view.restricted(tagged("a", "c")), only=tagged("a", "c")) == {"newest"}
    assert found(view.restricted(tagged("first")), only=tagged("first")) == {"old"}


def test_dates_come_first(cache):
    coming, past = replace(NEW, valid_from=TODAY + DAY), replace(NEW, until=TODAY - DAY)
    assert in_force([OLD, coming], TODAY) == in_force([OLD, past], TODAY) == (OLD,)
    assert in_force([OLD, coming], TODAY + DAY) == (coming,)
    cache.add([coming, replace(OLD, until=TODAY - DAY)])
    assert cache.view().restricted(tagged("a")).edits == ()


def test_patterns_secrets_and_conditions_are_superseded_alike(cache):
    olds = [
        RegexPatch("Quill", "Kiel", id="pattern"),
        Fact("Where is it?", forget=True, secret="12 Elm Street", id="secret"),
        LanguagePatch("the user asks about Quill", 'say "No."', id="condition"),
    ]
    new = Fact("Who?", "Ann", id="x", tags=("b",), supersedes=tuple(edit.id for edit in olds))

    def effects(view):
        outputs = view.text_filter("output", lambda edit: True)
        return outputs.patterns, outputs.forgotten, found(view, olds[2].condition) - {"x"}

    cache.add(olds)
    before = effects(cache.view())
    assert all(before)
    cache.add([new])
    assert effects(cache.view()) == ((), (), set())
    assert effects(cache.view().restricted(tagged("a"))) == before
    cache.retract("x")
    assert effects(cache.view()) == before


def test_a_names_index_knows_no_superseded_edit(cache):
    def names(view):
        return [match.text for match in view.alias_matches("Who leads the Big House?")]

    cache.add([replace(OLD, subject="Quill", aliases=("Big House",))])
    before = names(cache.view())
    assert before == ["Who leads Quill?"]
    cache.add([replace(NEW, subject="Quill")])
    assert names(cache.view()) == []
    assert names(cache.view().restricted(tagged("a"))) == before
    cache.retract("new")
    assert names(cache.view()) == before


def test_a_call_may_leave_the_superseding_edit_out(models, tokenizer):
    with EditableModel(
        models("gpt2"), tokenizer, gate=ByTable(), encoder=StubEncoder(), reasoner=Echo()
    ) as model:
        model.edit([OLD, RegexPatch("Ann", "Anna", id="pattern", tags=("a",))])
        base = model.ask(OLD.question, edits=False).text
        assert model.ask(OLD.question).text == "Anna"
        new = replace(NEW, question=OLD.question, supersedes=("old", "pattern"))
        model.edit(new)
        assert model.ask(OLD.question).text == "Ben"
        assert model.ask(OLD.question, edits={"tags": ["a", "b"]}).text == "Ben"
        assert model.ask(OLD.question, edits={"tags": ["a"]}).text == "Anna"
        assert model.ask(OLD.question, edits={"tags": ["other"]}).text == base
        model.retract("new")
        assert model.ask(OLD.question).text == "Anna"
