"""From scores to a decision: who fires, who answers, who only came near."""

from __future__ import annotations

import numpy as np
import pytest

from errata.cache.records import Fact, Hit, LanguagePatch, Query, SourceLocation
from errata.gates.base import Scores, make_decision

QUERY = Query("a query", ("a query",), np.ones((1, 4), np.float32) / 2)
FACT = Fact("Where is it?", "there", id="fact", location=SourceLocation("a.yaml", 3))
SECRET = Fact("Where does she live?", forget=True, secret="12 Elm Street", id="secret")
SAYS = LanguagePatch("the user asks who made you", "say that you were made by A", id="says")
THINKS = LanguagePatch("a review is rude", "be twice as polite as you would be", id="thinks")


def decide(*judged, threshold=0.8, near=0.5, **options):
    """Settle (edit, probability, follows) triples."""
    hits = [Hit(edit, 0.5, np.zeros(4, np.float32)) for edit, _, _ in judged]
    scores = Scores(
        np.array([float(p) for _, p, _ in judged]), np.array([float(f) for _, _, f in judged])
    )
    return make_decision(QUERY, hits, scores, threshold=threshold, near=near, **options)


@pytest.mark.parametrize(
    ("edit", "follows", "route"),
    [
        (FACT, 0.0, "verbatim"),
        (FACT, 0.9, "reason"),
        (SECRET, 0.0, "refuse"),
        (SECRET, 0.9, "refuse"),
        (SAYS, 0.0, "verbatim"),
        (THINKS, 0.0, "reason"),
    ],
)
def test_routes(edit, follows, route):
    decision = decide((edit, 0.9, follows))
    assert decision.route == route
    assert decision.fired == (edit,)
    assert decide((edit, 0.7, follows)).route == "base"


def test_nothing_near_is_a_plain_miss():
    decision = decide((FACT, 0.1, 0.0))
    assert (decision.hit, decision.near_misses, decision.route) == (False, (), "base")
    assert decide().candidates == ()


def test_a_near_miss_is_told():
    decision = decide((FACT, 0.5, 0.0), (SAYS, 0.3, 0.0))
    assert not decision.hit
    assert [one.edit_id for one in decision.near_misses] == ["fact"]
    candidate = decision.candidates[0]
    assert (candidate.threshold, candidate.scope) == (0.8, "Where is it?")
    assert str(candidate.location) == "a.yaml:3"


def test_the_more_probable_edit_comes_first():
    assert [e.id for e in decide((SAYS, 0.85, 0), (FACT, 0.9, 0)).fired] == ["fact", "says"]


def test_priority_beats_probability():
    urgent = Fact("Where is it?", "here", id="urgent", priority=1)
    decision = decide((FACT, 0.99, 0), (urgent, 0.85, 0))
    assert [edit.id for edit in decision.fired] == ["urgent", "fact"]
    assert decision.candidates[0].edit_id == "fact"  # candidates stay by probability
    assert decide((FACT, 0.99, 0), (urgent, 0.7, 0)).fired == (FACT,)


def test_ties_keep_the_caches_order():
    assert [e.id for e in decide((SAYS, 0.9, 0), (FACT, 0.9, 0)).fired] == ["says", "fact"]


def test_an_edits_own_threshold():
    assert not decide((FACT, 0.9, 0), edit_thresholds={"fact": 0.95}).hit
    assert decide((FACT, 0.3, 0), edit_thresholds={"fact": 0.2}).hit
