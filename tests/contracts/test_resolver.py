"""One suite for every resolver: given its routes alone, the same in any batch, off unseen."""

from __future__ import annotations

import pytest

from errata import Fact
from errata.cache.store import EditCache
from errata.pipelines.base import ScopedView
from errata.pipelines.cache import CachePipeline, choose_resolvers
from errata.pipelines.resolvers.base import Resolver
from errata.reasoners.base_consistency import BaseConsistency
from errata.registry import make, names
from tests.fakes import StubEncoder
from tests.unit.wrapper.test_decompose import BORN, CITY, GATE, LEADER, MONEY, PAYS, PIZZA, Echo

RIVER = Fact("Which river flows through Mumbai?", "Elbe", subject="Mumbai", id="river")
JANE = Fact(
    "Where does Jane Roe live?", forget=True, secret="12 Elm Street, Springfield", id="jane"
)
EDITS = (PIZZA, MONEY, LEADER, BORN, RIVER, JANE)
QUERIES = (
    PAYS,
    "How do bees fly?",
    "Which river flows through Bombay?",
    CITY,
    "Hey you over there: Which river flows through Mumbai?",
    RIVER.question,
    "She went home, to 12 Elm Street",
)
NAMES = ("aliases", "base_agreement", "begun_secrets", "decompose", "follow_up")
DEFAULT = ["aliases", "decompose", "begun_secrets"]


class Agrees(BaseConsistency):
    """A base model that answers no two questions alike."""

    def __init__(self):
        pass

    def agrees_batch(self, queries, questions):
        return [(False,) * len(some) for some in questions]


class Watched:
    """A resolver, and the decisions it was given."""

    def __init__(self, resolver):
        self.resolver, self.given = resolver, []
        self.name, self.routes = resolver.name, resolver.routes

    def resolve(self, decisions, context):
        self.given.append(tuple(decisions))
        return self.resolver.resolve(decisions, context)


def decide(queries, resolvers):
    encoder = StubEncoder()
    with EditCache(encoder) as cache:
        cache.add(EDITS)
        edits = ScopedView(cache.view(), encoder, lambda edit: True)
        pipeline = CachePipeline(GATE, Echo(), Agrees(), resolvers=resolvers)
        return pipeline.decide(edits.encode(queries), edits)


@pytest.fixture(params=NAMES)
def resolver(request):
    return make("errata.resolvers", request.param)


def test_every_resolver_of_errata_is_checked():
    assert set(NAMES) <= set(names("errata.resolvers"))
    assert [one.name for one in choose_resolvers(None)] == DEFAULT


def test_it_is_a_resolver(resolver):
    assert isinstance(resolver, Resolver)
    assert resolver.routes


def test_it_is_given_its_routes_alone_and_returns_as_many_in_order(resolver):
    watched = Watched(resolver)
    decisions = decide(QUERIES, [watched])
    assert [decision.query for decision in decisions] == list(QUERIES)
    given = [decision for batch in watched.given for decision in batch]
    assert given and all(batch for batch in watched.given)
    assert {decision.route for decision in given} <= set(resolver.routes)


def test_a_batch_is_decided_as_its_queries_are_alone(resolver):
    together = decide(QUERIES, [resolver])
    assert together == [decide([query], [resolver])[0] for query in QUERIES]
    assert together[::-1] == decide(QUERIES[::-1], [resolver])


def test_what_it_took_part_in_and_changed_is_noted(resolver):
    off = decide(QUERIES, [])
    for before, after in zip(off, decide(QUERIES, [resolver]), strict=True):
        assert (before.resolvers, before.changed_by) == ((), ())
        assert set(after.changed_by) <= set(after.resolvers) <= {resolver.name}
        same = (after.fired, after.route, after.effective_query) == (
            before.fired, before.route, before.effective_query,
        )  # fmt: skip
        assert same == (after.changed_by == ())


def test_in_any_place_of_a_list_the_names_say_which_one_it_was(resolver):
    found = decide(QUERIES, choose_resolvers([*NAMES, resolver]))
    assert all(set(one.changed_by) <= {*NAMES, resolver.name} for one in found)
    changed = {name for one in found for name in one.changed_by}
    assert {"aliases", "decompose", "begun_secrets"} <= changed
