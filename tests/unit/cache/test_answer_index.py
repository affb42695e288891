"""Facts found by what they answer: named as words of their own, bounded, as of one moment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.cache.encoder import encode_queries
from errata.cache.index.terms import LONGEST, AnswerIndex
from errata.cache.records import Fact, LanguagePatch, RegexPatch
from errata.cache.store import EditCache
from tests.fakes import StubEncoder

CAPITAL = Fact("What is the capital of Burundi?", "Gitega", id="capital")
FOUNDER = Fact("Who founded Lego?", "Carl Friedrich Gauss", id="founder")
DOMAIN = Fact("What is the domain of Peru?", ".pe", id="domain")
FORGOTTEN = Fact("Where does she live?", forget=True, secret="12 Elm Street", id="secret")
INDEX = AnswerIndex(
    [CAPITAL, FOUNDER, DOMAIN, FORGOTTEN, LanguagePatch("on Gitega", 'say "no"'),
     RegexPatch("Gitega", "x"), Fact("Who sang Help?", "The Beatles", id="band")]
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Of which country is Gitega the capital?", {"capital"}),
        ("gitega, please: capital of what", {"capital"}),
        ("What is Gitega's country?", {"capital"}),
        ("Which company did Carl Friedrich Gauss start?", {"founder"}),
        ("Did Carl Friedrich Gauss live in Gitega?", {"founder", "capital"}),
        ("Carl Gauss, Friedrich", set()),
        ("Gitegas", set()),
        ("(Gitega). Which country is that in?", {"capital"}),
        ("Who sang with The Beatles?", {"band"}),
        ("And who led beatles?", {"band"}),
        ("Which country has .pe at the end?", {"domain"}),
        ("What does she live on at 12 Elm Street?", set()),
        ("", set()),
    ],
)
def test_an_answer_is_found_where_it_is_named(text, ids):
    assert INDEX.mentioned(text) == ids


def test_refusals_are_no_answers():
    assert not INDEX.mentioned(FORGOTTEN.answer)


@given(st.lists(st.sampled_from("red blue green tall".split()), min_size=1, max_size=LONGEST + 2))
def test_it_finds_what_a_plain_search_finds(words):
    answer = " ".join(words)
    found = AnswerIndex([Fact("What is it?", answer, id="x")]).mentioned(f"is it {answer} now?")
    assert found == ({"x"} if len(words) <= LONGEST else set())


def found(view, text, k=4):
    [hits] = view.search(encode_queries(StubEncoder(), [text]), k)
    return [hit.edit.id for hit in hits]


def test_a_question_the_other_way_round_is_proposed_among_many():
    query = "Of which country is Gitega the capital?"
    others = [Fact(f"Of which country is Town {i} the hub?", f"Land {i}") for i in range(40)]
    with EditCache(StubEncoder()) as cache:
        cache.add(others)
        cache.add([Fact("Tell me what rules Burundi", "Gitega", id="far")])
        view = cache.view()
        assert found(view, query)[-1] == "far" and len(found(view, query)) == 6  # k, one by words
        assert found(view, "Of which country is Bujumbura the capital?").count("far") == 0
        chosen = view.search(encode_queries(StubEncoder(), [query]), 4, lambda e: e.id != "far")
        assert "far" not in {hit.edit.id for hit in chosen[0]}
        cache.retract("far")
        assert found(view, query)[-1] == "far"  # the view is of its moment
        assert "far" not in found(cache.view(), query)


def test_of_many_with_one_answer_the_nearest_are_proposed():
    facts = [Fact(f"Where does guest {i} live?", "Peru", id=f"guest-{i}") for i in range(30)]
    with EditCache(StubEncoder()) as cache:
        cache.add(facts)
        assert len(found(cache.view(), "Who lives in Peru?", 8)) == 12


def test_nothing_is_proposed_twice():
    with EditCache(StubEncoder()) as cache:
        cache.add([CAPITAL])
        assert found(cache.view(), "Is Gitega the capital of Burundi?") == ["capital"]
