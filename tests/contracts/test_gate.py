"""The gate's contract, the same for every gate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.errors import ModelError
from errata.cache.records import Fact, Hit, LanguagePatch, Query, RegexPatch
from errata.gates import Gate
from errata.gates.classifier import ClassifierConfig, ScopeClassifier
from errata.gates.cosine import CosineGate
from errata.gates.embedding import EmbeddingGate
from errata.gates.load import choose_gate
from tests.fakes import StubEncoder
from tests.small_cross import ReadingEncoder, two_stage_gate
from tests.small_gate import small_gate

ENCODER = StubEncoder()
READING = ReadingEncoder()
EDITS = (
    Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan"),
    Fact("What is the capital of Uzbekistan?", "Tashkent"),
    Fact("What colour is a zebra's skin?", "black"),
    Fact("斑马的皮肤是什么颜色的？", "黑色"),
    LanguagePatch("the user asks who made you", "say that you were made by Example Labs"),
    LanguagePatch('the text contains the word "refund"', "be polite"),
    RegexPatch("Swaziland", "Eswatini"),
)
TEXTS = (
    "What is the capital of Kazakhstan?",
    "which city is kazakhstans capital",
    "What is the currency of Kazakhstan?",
    "Who made you?",
    "Can I get a refund?",
    "熊猫的皮肤是什么颜色的？",
    "Hello there. What colour is a zebra's skin? Thanks.",
    "???",
)


def query(text: str) -> Query:
    windows = ENCODER.windows(text)
    unknown = float(ENCODER.unknown_share([text])[0])
    return Query(text, windows, ENCODER.encode(windows), unknown)


def hits(edits=EDITS) -> list[Hit]:
    return [Hit(edit, 0.5, ENCODER.encode([edit.scope])[0]) for edit in edits]


MAP = 1.5 * np.eye(ENCODER.dimension)


@pytest.fixture(params=["classifier", "two stages", "cosine", "serac"])
def make(request):
    """Return a maker of gates, taking a threshold and thresholds of single edits."""

    def made(**options) -> Gate:
        if request.param == "classifier":
            return ScopeClassifier(ENCODER, small_gate(), **options)
        if request.param == "two stages":
            return ScopeClassifier(READING, two_stage_gate(), **options)
        if request.param == "serac":
            return EmbeddingGate(ENCODER, MAP, **options)
        return CosineGate(ENCODER, **options)

    return made


def test_is_a_gate(make):
    assert isinstance(make(), Gate)


def test_scores_are_probabilities_of_the_right_shape(make):
    for text in TEXTS:
        scores = make().score(query(text), EDITS)
        for values in (scores.probability, scores.entailed):
            assert values.shape == (len(EDITS),)
            assert values.dtype == np.float64
            assert ((values >= 0) & (values <= 1)).all()


def test_the_edits_own_question_is_the_same(make):
    gate = make()
    for row, edit in enumerate(EDITS[:4]):
        careless = edit.scope.rstrip("?？").upper()
        # published as it is, SERAC's gate knows no characters
        for text in (edit.scope,) if isinstance(gate, EmbeddingGate) else (edit.scope, careless):
            scores = gate.score(text, EDITS)
            assert scores.probability[row] == 1.0
            assert scores.entailed[row] == 0.0


def test_pure(make):
    gate = make()
    first = [gate.decide(query(text), hits()) for text in TEXTS]
    again = [gate.decide(query(text), hits()) for text in reversed(TEXTS)][::-1]
    assert first == again == [make().decide(query(text), hits()) for text in TEXTS]


@given(
    st.lists(st.sampled_from(EDITS), min_size=1, max_size=ClassifierConfig().rerank_top_k),
    st.sampled_from(TEXTS),
)
@settings(deadline=None, max_examples=30)
def test_the_same_in_any_batch(edits, text):
    reading = ScopeClassifier(READING, two_stage_gate())
    for gate, near in (
        (ScopeClassifier(ENCODER, small_gate()), 1e-9),
        (reading, 1e-4),  # torch pads
        (CosineGate(ENCODER), 1e-9),
        (EmbeddingGate(ENCODER, MAP), 1e-9),
    ):
        together = gate.score(text, edits)
        for row, edit in enumerate(edits):
            alone = gate.score(query(text), [edit])
            assert together.probability[row] == pytest.approx(alone.probability[0], abs=near)
            assert together.entailed[row] == pytest.approx(alone.entailed[0], abs=near)


def test_a_batch_is_its_queries_one_by_one(make):
    gate = make()
    found = gate.decide_batch([query(text) for text in TEXTS], [hits()] * len(TEXTS))
    scores = gate.score_batch(TEXTS, [EDITS[: 1 + row % 7] for row in range(len(TEXTS))])
    for row, (text, decision) in enumerate(zip(TEXTS, found, strict=True)):
        alone = gate.decide(query(text), hits())
        assert (decision.fired, decision.route) == (alone.fired, alone.route)
        expected = gate.score(text, EDITS[: 1 + row % 7])
        np.testing.assert_allclose(scores[row].probability, expected.probability, atol=1e-4)
        np.testing.assert_allclose(scores[row].entailed, expected.entailed, atol=1e-4)
    assert gate.score_batch([], []) == gate.decide_batch([], []) == []
    with pytest.raises(ValueError, match="shorter"):
        gate.score_batch(TEXTS, [EDITS])


class Of01:
    """A gate of version 0.1, whose protocol took one query at a time."""

    def __init__(self):
        self._gate = CosineGate(ENCODER)

    def score(self, query, edits):
        return self._gate.score(query, edits)

    def decide(self, query, hits):
        return self._gate.decide(query, hits)


def test_a_gate_of_version_0_1_still_decides():
    with pytest.warns(DeprecationWarning, match="score_batch and decide_batch, found Of01"):
        gate = choose_gate(Of01(), ENCODER)
    assert isinstance(gate, Gate)
    queries = [query(text) for text in TEXTS]
    expected = CosineGate(ENCODER).decide_batch(queries, [hits()] * len(TEXTS))
    assert gate.decide_batch(queries, [hits()] * len(TEXTS)) == expected
    assert any(decision.hit for decision in expected)
    same = CosineGate(ENCODER)
    assert choose_gate(same, ENCODER) is same
    with pytest.raises(ModelError, match="found StubEncoder; pass a gate's name"):
        choose_gate(ENCODER, ENCODER)


def test_hits_and_edits_score_alike(make):
    gate = make()
    for text in TEXTS:
        from_hits, from_edits = gate.score(text, hits()), gate.score(text, EDITS)
        np.testing.assert_allclose(from_hits.probability, from_edits.probability, atol=1e-6)


def test_no_hits_is_a_miss_and_encodes_nothing(make):
    gate = make()
    asked = query("anything")
    ENCODER.calls = 0
    decision = gate.decide(asked, [])
    assert (decision.hit, decision.route, decision.candidates) == (False, "base", ())
    assert gate.score(asked, []).probability.shape == (0,)
    assert ENCODER.calls == 0


def test_candidates_come_most_probable_first(make):
    for text in TEXTS:
        found = [one.probability for one in make().decide(query(text), hits()).candidates]
        assert found == sorted(found, reverse=True)
        assert len(found) == len(EDITS)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=5), st.sampled_from(TEXTS))
@settings(deadline=None, max_examples=30)
def test_a_higher_threshold_fires_no_more(thresholds, text):
    for make_one in (
        lambda value: ScopeClassifier(ENCODER, small_gate(), threshold=value),
        lambda value: CosineGate(ENCODER, value),
        lambda value: EmbeddingGate(ENCODER, MAP, value),
    ):
        fired = [
            {edit.id for edit in make_one(value).decide(query(text), hits(EDITS[:4])).fired}
            for value in sorted(thresholds)
        ]
        assert all(after <= before for before, after in itertools.pairwise(fired))


def test_thresholds_of_single_edits(make):
    asked = "What's the capital of Kazakhstan?"
    assert make(threshold=0.01).decide(query(asked), hits()).fired[0] == EDITS[0]
    strict = make(threshold=0.01, edit_thresholds={EDITS[0].id: 1.1})
    decision = strict.decide(query(asked), hits())
    assert EDITS[0] not in decision.fired
    assert {one.threshold for one in decision.candidates if one.edit_id == EDITS[0].id} == {1.1}
    # listed: no threshold counts
    assert strict.decide(query(EDITS[0].question), hits()).fired[0] == EDITS[0]


def test_text_the_encoder_cannot_read_is_decided_by_characters():
    gate = ScopeClassifier(ENCODER, small_gate())
    zebra, panda = "斑马的皮肤是什么颜色的？", "熊猫的皮肤是什么颜色的？"
    # to the encoder the two are all but the same, which is why characters have to decide
    rows = ENCODER.encode([zebra, panda])
    assert rows[0] @ rows[1] > 0.99
    hit = gate.decide(query(zebra), hits())
    assert hit.fired == (EDITS[3],)
    miss = gate.decide(query(panda), hits())
    assert not miss.hit
    assert [one.edit_id for one in miss.near_misses] == [EDITS[3].id]
    far = gate.decide(query("今天天气怎么样？"), hits())
    assert not far.hit
    assert far.near_misses == ()
