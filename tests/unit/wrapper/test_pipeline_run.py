"""The first half of a query's way: rules are always asked, and near misses are told."""

from __future__ import annotations

import pytest

from errata.cache.records import Fact, LanguagePatch, PatchTests
from errata.cache.store import EditCache
from errata.gates.cosine import CosineGate
from errata.output import StopWatch
from errata.pipelines.base import RouteRequest, ScopedPipeline, route_batch
from errata.pipelines.cache import CachePipeline, CachePipelineConfig
from errata.reasoners.verbatim import VerbatimReasoner
from tests.fakes import StubEncoder

CANDIDATES = CachePipelineConfig().candidates
LOUD = LanguagePatch("the text is in all capitals", 'say "Please do not shout."')
FACTS = tuple(Fact(f"Hello there, my friend number {i}?", "x") for i in range(2 * CANDIDATES))


class RuleGate(CosineGate):
    """Fires where a rule holds, and else on the cosine."""

    def score_batch(self, queries, edits):
        from errata.gates.conditions.parse import is_certain, read_condition

        found = super().score_batch(queries, edits)
        for query, hits, scores in zip(queries, edits, found, strict=True):
            for row, hit in enumerate(hits):
                if is_certain(hit.edit):
                    holds = read_condition(hit.edit.condition).holds(query.text)
                    scores.probability[row] = float(holds)
        return found


@pytest.fixture
def way():
    encoder = StubEncoder()
    with EditCache(encoder) as cache:
        cache.add([*FACTS, LOUD])

        def asked(text, threshold=0.999):
            watch = StopWatch()
            own = CachePipeline(RuleGate(encoder, threshold), VerbatimReasoner())
            turns = [ScopedPipeline(own, lambda edit: True)]
            found = route_batch(
                RouteRequest([text], cache.view(), encoder, turns, lambda edit: True, watch.lap)
            )
            notes = {step.stage: step.note for step in watch.steps}
            return found.decisions[0], notes["gate"]

        yield asked


def test_a_rule_is_asked_however_far_its_words_are(way):
    text = "HELLO THERE, MY FRIEND NUMBER?"
    encoder = StubEncoder()
    with EditCache(encoder) as cache:
        cache.add([*FACTS, LOUD])
        from errata.cache.encoder import encode_queries

        found = cache.view().search(encode_queries(encoder, [text]), CANDIDATES)[0]
        assert LOUD.id not in {hit.edit.id for hit in found}  # no search finds it
    decision, note = way(text)
    assert [edit.id for edit in decision.fired] == [LOUD.id]
    assert note == "1 of 1 hit"
    assert not way(text.capitalize())[0].hit


def test_a_near_miss_stands_in_the_trace(way):
    decision, note = way("Hello there, my friend number 3 or so?")
    assert not decision.hit and decision.near_misses
    near = decision.near_misses[0]
    assert f"near miss: {near.edit_id} ({near.probability:.3f}, from 0.999 on)" in note
    assert note.count("near miss") == min(3, len(decision.near_misses))
    assert "near miss" not in way("Zzz zzz zzz")[1]


def test_patch_tests_are_no_part_of_what_an_edit_is():
    assert LOUD.id == LanguagePatch(
        LOUD.condition, LOUD.consequence, tests=PatchTests(fires=("A",))
    ).id  # fmt: skip
