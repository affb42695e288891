"""How likely a topic or a claim holds, and what the trained gate makes that of."""

from __future__ import annotations

import json
import shutil
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.cache.encoder import encode_query
from errata.cache.errors import ModelError
from errata.cache.records import Fact, LanguagePatch, PatchTests, RegexPatch
from errata.gates.artifact import CARD, GateArtifact
from errata.gates.classifier import ScopeClassifier
from errata.gates.condition_calibration import (
    ConditionCalibration,
    ConditionEvidence,
    ConditionSlopes,
)
from errata.gates.examples import Evidence, ExampleCalibration, ExampleConfig
from tests.fakes import StubEncoder
from tests.small_gate import small_gate, small_gate_folder

ENCODER = StubEncoder()
TOPIC = ConditionSlopes(-3.0, 0.5, 2.0, 4.0, 0.25, 0.75)
CLAIM = ConditionSlopes(-2.0, 1.5, 0.5, 1.0, -0.25, 0.5)
FITTED = ConditionCalibration(TOPIC, CLAIM)
EXAMPLES = ExampleCalibration(
    np.full((2, ENCODER.dimension), 0.1, np.float32),
    (0.5, 0.2),
    ExampleConfig(-6.0, 0.8, 0.5, 9.0, 3.0, 0.5, 0.2, factual=0.5, factual_trained=0.4),
)
EVIDENCE = st.builds(
    ConditionEvidence, st.floats(0, 1), st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 9)
)


@given(EVIDENCE, st.booleans())
@settings(deadline=None)
def test_the_probability_is_that_of_the_log_odds(known, claim):
    """Independently, and in float64."""
    trained = np.clip(np.float64(known.trained), 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(trained) - np.log1p(-trained), -8, 8)
    number = np.log(1.0 + min(known.examples, 3))
    slopes = CLAIM if claim else TOPIC
    expected = slopes.offset + slopes.trained * odds + slopes.cosine * known.cosine
    expected += slopes.more * number + (slopes.nearest + slopes.steeper * number) * known.nearest
    found = FITTED.probability(known, claim=claim)
    assert found == pytest.approx(1 / (1 + np.exp(-expected)), rel=1e-6)


def test_topics_and_claims_have_slopes_of_their_own():
    known = ConditionEvidence(0.6, 0.3, 0.5, 1)
    topic, claim = (FITTED.probability(known, claim=one) for one in (False, True))
    assert abs(topic - claim) > 0.05
    other = replace(FITTED, claim=TOPIC)
    assert other.probability(known, claim=True) == topic == other.probability(known, claim=False)


SLOPE = st.floats(0, 20)


@given(EVIDENCE, st.lists(SLOPE, min_size=5, max_size=5), st.floats(-20, 20), st.floats(0, 1))
@settings(deadline=None)
def test_nearer_is_never_less_likely(known, slopes, offset, more):
    every = ConditionCalibration(*[ConditionSlopes(offset, *slopes)] * 2)
    before = every.probability(known, claim=False)
    for name in ("cosine", "nearest", "trained"):
        nearer = replace(known, **{name: min(1.0, getattr(known, name) + more)})
        assert every.probability(nearer, claim=False) >= before - 1e-12


def test_more_than_three_examples_count_as_three():
    found = [FITTED.probability(ConditionEvidence(0.5, 0.3, 0.6, n), claim=False) for n in range(6)]
    assert found[0] < found[1] < found[2] < found[3] == found[4] == found[5]
    steep = ConditionCalibration(*[ConditionSlopes(*[1e4] * 6)] * 2)
    assert steep.probability(ConditionEvidence(1.0, 1.0, 1.0, 3), claim=True) == pytest.approx(1)
    assert steep.probability(ConditionEvidence(0.0, -1.0, -1.0, 3), claim=True) < 1e-20


def test_the_card_keeps_it(tmp_path):
    assert ConditionCalibration.of_card(json.loads(json.dumps(FITTED.as_json()))) == FITTED
    replace(small_gate(), conditions=FITTED).save(tmp_path)
    found = GateArtifact.load(tmp_path)
    assert found.conditions == FITTED and "condition_examples" not in found.card
    found.save(tmp_path / "again")
    assert (tmp_path / "again" / CARD).read_bytes() == (tmp_path / CARD).read_bytes()
    assert small_gate().conditions is None


@pytest.mark.parametrize(
    "entry",
    [
        {},
        [1.0],
        "topic",
        {"topic": FITTED.as_json()["topic"]},
        FITTED.as_json() | {"claim": {"offset": 1.0}},
        FITTED.as_json() | {"claim": FITTED.as_json()["claim"] | {"nearest": "steep"}},
        FITTED.as_json() | {"topic": FITTED.as_json()["topic"] | {"more": None}},
    ],
)
def test_a_malformed_entry_is_an_error_when_the_gate_is_loaded(tmp_path, entry):
    folder = shutil.copytree(small_gate_folder(), tmp_path / "gate")
    card = json.loads((folder / CARD).read_text("utf-8"))
    (folder / CARD).write_text(json.dumps(card | {"condition_examples": entry}), "utf-8")
    with pytest.raises(ModelError, match=r"gate: the gate's files do not hold what a gate of form"):
        GateArtifact.load(folder)


# what it is computed from

PAYMENTS = LanguagePatch(
    "the user asks about card payments",
    "be polite",
    tests=PatchTests(("my card was charged twice", "paying by card fails")),
)
COLD = LanguagePatch("the review says that the food is cold", "be polite")
MAKER = LanguagePatch("the user asks who made you", "say: Example Labs")
CAPITAL = Fact("What is the capital of Kazakhstan?", "Astana", subject="Kazakhstan")
GUARDED = replace(CAPITAL, tests=PatchTests(silent=("What is the capital of Norway today?",)))
WORD = LanguagePatch('the text contains the word "refund"', "be polite")
EDITS = (PAYMENTS, COLD, MAKER, CAPITAL, GUARDED, WORD, RegexPatch("a", "b"))
TEXTS = (
    "why does card payment take so long",
    "My card was charged. The soup was cold. Who made this?",
    "which city is kazakhstans capital",
    "what is the capital of Norway right now",
)


@pytest.mark.parametrize("examples", [None, EXAMPLES])
@pytest.mark.parametrize("conditions", [None, FITTED])
def test_the_probability_is_made_of_the_evidence(examples, conditions):
    gate = ScopeClassifier(ENCODER, replace(small_gate(), examples=examples, conditions=conditions))
    scores = gate.score_batch(TEXTS, [EDITS] * len(TEXTS))
    evidence = gate.evidence(TEXTS, [EDITS] * len(TEXTS))
    sorts = []
    for one, some in zip(scores, evidence, strict=True):
        assert len(some) == len(EDITS)
        for edit, known, found in zip(EDITS, some, one.probability.tolist(), strict=True):
            expected = 0.0 if known is None else known.trained
            if isinstance(known, Evidence) and examples is not None:
                expected = examples.probability(known)
            if isinstance(known, ConditionEvidence) and conditions is not None:
                expected = conditions.probability(known, claim=edit is COLD)
            assert found == pytest.approx(expected, abs=1e-12), (edit, known)
            sorts.append((edit, type(known)))
    assert {edit for edit, sort in sorts if sort is ConditionEvidence} == {PAYMENTS, COLD}
    assert {edit for edit, sort in sorts if sort is Evidence} == {MAKER, CAPITAL, GUARDED}
    # characters and rules decide, or a counterexample is nearer
    nothing = [edit for edit, sort in sorts if sort is type(None)]
    assert nothing.count(WORD) == nothing.count(EDITS[-1]) == len(TEXTS)


def test_the_evidence_of_a_condition():
    gate = ScopeClassifier(ENCODER, replace(small_gate(), examples=EXAMPLES, conditions=FITTED))
    text = "was my card charged twice"
    ((known, alone),) = gate.evidence([text], [[PAYMENTS, replace(PAYMENTS, tests=PatchTests())]])
    asked, own, *taught = ENCODER.encode([text, "card payments", *PAYMENTS.tests.fires])
    cosines = [float(asked @ one) for one in (own, *taught)]
    assert cosines[1] == max(cosines) > cosines[0]
    assert known.cosine == alone.cosine == alone.nearest == pytest.approx(cosines[0], abs=1e-6)
    assert known.nearest == pytest.approx(cosines[1], abs=1e-6)
    assert (known.examples, alone.examples) == (2, 0) and known.trained == alone.trained
    odds = np.dot(astuple(TOPIC), known.inputs())
    found = gate.score(encode_query(ENCODER, text), [PAYMENTS]).probability
    assert found[0] == pytest.approx(1 / (1 + np.exp(-odds)))
    # a fitted gate's evidence is that of the gate before, so that fitting again begins there
    ((before,),) = ScopeClassifier(ENCODER, small_gate()).evidence([text], [[PAYMENTS]])
    assert astuple(before) == pytest.approx(astuple(known), abs=1e-6)


def test_evidence_of_no_queries():
    gate = ScopeClassifier(ENCODER, small_gate())
    assert gate.evidence([], []) == [] and gate.evidence(["hello there"], [[]]) == [[]]
