"""Resolvers: in order, each on its own, the same in any batch; then the final route."""

from __future__ import annotations

import pytest

from errata import Fact
from errata.cache.filters.secrets import hash_secret
from errata.cache.store import EditCache
from errata.commands.options import resolver_names
from errata.gates.base import Candidate, Decision
from errata.pipelines.base import ScopedView
from errata.pipelines.cache import DEFAULT_RESOLVERS, CachePipeline, route
from errata.reasoners.verbatim import VerbatimReasoner
from tests.fakes import StubEncoder
from tests.unit.wrapper.test_decompose import BORN, CITY, GATE, LEADER, MONEY, PAYS, PIZZA, Echo

RIVER = Fact("Which river flows through Mumbai?", "Elbe", subject="Mumbai", id="river")
ALIAS = "Which river flows through Bombay?"
QUERIES = [PAYS, "How do bees fly?", ALIAS, CITY]


def decide(queries, *edits, resolvers=DEFAULT_RESOLVERS, allows=lambda edit: True):
    encoder = StubEncoder()
    with EditCache(encoder) as cache:
        cache.add(edits or [PIZZA, MONEY, LEADER, BORN, RIVER])
        scoped = ScopedView(cache.view(), encoder, allows)
        pipeline = CachePipeline(GATE, Echo(), resolvers=resolvers)
        return pipeline.decide(scoped.encode(queries), scoped)


def test_a_batch_is_decided_as_its_queries_are_alone():
    together = decide(QUERIES)
    assert together == [decide([query])[0] for query in QUERIES]
    assert [decision.hops for decision in together] == [1, 0, 0, 2]
    assert together[2].canonical_query == RIVER.question


def test_their_names_differ():
    assert [one.name for one in DEFAULT_RESOLVERS] == ["aliases", "decompose", "begun_secrets"]


def test_they_are_named_on_the_command_line():
    assert resolver_names(None) is None and resolver_names("none") == []
    assert resolver_names("base_agreement, aliases") == ["base_agreement", "aliases"]


@pytest.mark.parametrize("left_out", ["aliases", "decompose"])
def test_one_that_is_left_out_changes_nothing(left_out):
    resolvers = [one for one in DEFAULT_RESOLVERS if one.name != left_out]
    multi_hop, _, alias, _ = decide(QUERIES, resolvers=resolvers)
    assert (multi_hop.sub_question == "") == (left_out == "decompose")
    assert alias.hit == (left_out != "aliases")


@pytest.mark.parametrize("key", ["secret", "secret_hash"])
def test_a_query_that_begins_a_secret_is_refused_by_the_fact_that_has_it(key):
    secret = "12 Elm Street, Springfield"
    kept = secret if key == "secret" else hash_secret(secret)
    jane = Fact("Where does Jane Roe live?", forget=True, id="jane", **{key: kept})
    begun = "The postman went to 12 Elm Street"
    (off,) = decide([begun], jane, resolvers=())
    assert (off.route, off.fired) == ("base", ())
    (found,) = decide([begun], jane)
    assert (found.route, found.fired, found.changed_by) == ("refuse", (jane,), ("begun_secrets",))
    (other,) = decide([begun], jane, allows=lambda edit: edit is not jane)
    assert other.route == "base", "a caller who leaves the patch out"
    (hop,) = decide([f"{PAYS} I ask from 12 Elm Street."], PIZZA, MONEY, jane)
    assert (hop.route, hop.fired, hop.hops, hop.sub_question) == ("refuse", (jane,), 0, "")


def test_an_edit_that_may_not_fire_is_in_no_hop_and_under_no_alias():
    found = decide([PAYS, ALIAS], allows=lambda edit: edit not in (MONEY, RIVER))
    assert (found[0].fired, found[0].route) == ((PIZZA,), "base")
    assert not found[1].hit


# -- the final route --------------------------------------------------------------------------


def entailed(*edits):
    candidates = tuple(Candidate(e.id, e.kind, e.scope, 0.99, 0.9, "entailed") for e in edits)
    return Decision("q", candidates, edits, "reason", canonical_query="r")


def test_a_reasoner_reads_the_best_edit_of_each_question_and_not_too_many():
    other = Fact(BORN.question, "Lima", priority=1)
    assert route(entailed(other, BORN), Echo(), 8).fired == (other,)
    many = [Fact(f"Does Oslo have {n} towers?", "no") for n in range(30)]
    assert route(entailed(*many), Echo(), 3).fired == tuple(many[:3])


def test_what_no_reasoner_supports_is_a_near_miss():
    found = route(entailed(BORN), VerbatimReasoner(), 8)
    assert (found.hit, found.route, found.effective_query) == (False, "base", "q")
    assert [candidate.edit_id for candidate in found.near_misses] == [BORN.id]


def test_a_stored_answer_stays_one():
    stored = Decision("q", fired=(BORN,), route="verbatim")
    assert route(stored, Echo(), 8) is route(stored, VerbatimReasoner(), 8) is stored
