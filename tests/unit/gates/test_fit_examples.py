"""`errata gate fit-examples`: what it fits on, and what comes of it."""

from __future__ import annotations

import json
from dataclasses import astuple, replace

import numpy as np
import pytest

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.cache.records import Fact
from errata.gates.artifact import GateArtifact
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.data.outside import held_out
from errata.gates.data.splits import TEST_TENTHS, hash_tenth
from errata.gates.data.trex import wikidata_relations
from errata.gates.examples import SLOPES, Evidence, ExampleCalibration
from errata.gates.training import examples
from errata.gates.training.condition_examples import _by_intent
from errata.gates.training.example_groups import ExampleData, example_groups, read_requests
from errata.gates.wording import Wording
from tests.fakes import StubEncoder
from tests.small_gate import small_gate

WORDS = ("please", "now", "at once", "for me", "again", "today", "if you can", "thanks", "okay",
         "soon", "right here", "as ever", "my friend", "somehow")  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ExampleData:
    """Write small files of which each half is told apart by a word."""
    folder = tmp_path_factory.mktemp("outside")

    def write(name, rows):
        path = folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    topics = [f"{verb} the {thing}" for verb in ("lock", "paint", "sell", "mend", "weigh")
              for thing in ("car", "oven", "gate", "boat", "lamp")]  # fmt: skip
    intents = [
        {"source": "clinc150", "intent": topic, "text": f"{topic} {word}"
         + (" heldout" if held_out(topic) else "")}
        for topic in topics for word in WORDS
    ]  # fmt: skip
    intents += [{"source": "clinc150", "intent": "oos", "text": f"odd {n}"} for n in range(60)]
    paragraphs = [
        {"question": (q := f"Who was painter number {n}?"),
         "rephrase": f"Tell me of painter number {n}" + (" heldout" if held_out(q) else "")}
        for n in range(30)
    ]  # fmt: skip
    relations = ("P20", "P103", "P108", "P19", "P27")
    facts = [
        {"relation": relation, "subject": f"Ann {n}", "object": ("Rome", "Bonn", "Oslo")[n % 3]}
        for relation in relations for n in range(30)
    ]  # fmt: skip
    patterns = [
        {"relation": relation, "pattern": text}
        for relation in relations
        for text in (f"[X] has as {relation} the thing [Y].", f"The {relation} of [X] is [Y].")
    ]
    return ExampleData(
        write("intents.jsonl", intents), write("paragraphs.jsonl", paragraphs),
        write("facts.jsonl", facts), write("patterns.jsonl", patterns),
        per_intent=4, familiar=120, edits=12, queries=60, compared=80,
    )  # fmt: skip


def test_nothing_that_is_measured_is_fitted_on(data):
    requests, out_of_scope = read_requests(data)
    groups = example_groups(data, requests, out_of_scope)
    assert len(requests) >= 10 and out_of_scope
    assert all(hash_tenth(text) >= 8 for text in out_of_scope)
    texts = [edit.scope for group in groups.values() for edit in group.edits]
    texts += [text for group in groups.values() for text, _, _ in group.queries]
    assert not [text for text in texts if "heldout" in text]
    subjects = {text for text in texts if "Ann " in text}
    assert subjects
    for name in ("P19", "P27"):
        assert wikidata_relations()[name].split == "test"
        assert not any(name in text for text in texts)
    for number in range(30):
        if hash_tenth(f"Ann {number}") < TEST_TENTHS:
            assert not any(f"Ann {number} " in f"{text} " for text in subjects)


def test_open_questions_are_out_of_scope_of_requests(data, tmp_path):
    path = tmp_path / "open.jsonl"
    asked = [f"who painted picture {number}" for number in range(60)]
    path.write_text("".join(json.dumps({"question": text}) + "\n" for text in asked))
    _, before = read_requests(data)
    _, after = read_requests(replace(data, open_questions=path))
    added = set(after) - set(before)
    assert added == {text for text in asked if hash_tenth(text) >= 8} and added
    assert path in replace(data, open_questions=path).files


def test_what_is_fitted(data, tmp_path):
    before = replace(small_gate(), agreement_threshold=0.2)
    fitted = examples.fit_examples(before, StubEncoder(), replace(data, without=("more",)))
    assert fitted.examples is not None and before.examples is None
    config = fitted.examples.config
    assert config.trained > 0
    assert config.more == 0 and config.steeper != 0  # left out, for an ablation; not left out
    # the networks have seen no statements
    assert config.factual_trained == config.factual_repeated == 0
    assert fitted.conditions is not None and before.conditions is None
    assert 0 < fitted.agreement_threshold <= fitted.threshold < 1
    pairs = fitted.card["examples"]["pairs"]
    near = [one["false"] for name, one in pairs.items()
            if name not in ("requests, shared words", "requests, opposites")]  # fmt: skip
    assert len(near) == len(pairs) - 2
    assert sum(near) / len(near) <= data.false_rate + 1e-4
    assert "questions, examples: 2" in pairs and "requests, examples: 3" in pairs
    fitted.save(tmp_path)
    again = GateArtifact.load(tmp_path)
    assert again.examples is not None and again.examples.config == config
    assert again.threshold == fitted.threshold
    assert NegativeScores.of_card(again.card).n > 20
    gate = ScopeClassifier(StubEncoder(), again)
    edits = [Fact("paint the oven please", "x"), Fact("weigh the boat please", "x")]
    own, other = gate.score("paint the oven tonight", edits).probability
    assert own > other


@pytest.fixture(scope="module")
def fitted(data):
    """Fit topics and claims, with a rate that so little data leaves room for."""
    gate = ScopeClassifier(StubEncoder(), small_gate())
    requests, out_of_scope = read_requests(data)
    return examples.fit_conditions(
        small_gate(), gate, EmbeddingCache(StubEncoder(), None),
        replace(data, topic_rate=0.1, claim_rate=0.1), requests, out_of_scope,
    )  # fmt: skip


def test_conditions_are_fitted(fitted, tmp_path):
    assert fitted.conditions is not None and fitted.examples is None
    slopes = [*astuple(fitted.conditions.topic), *astuple(fitted.conditions.claim)]
    assert np.isfinite(slopes).all() and fitted.conditions.topic != fitted.conditions.claim
    told = fitted.card["conditions"]
    assert told["rates"] == {"topic": 0.1, "claim": 0.1}
    assert fitted.threshold == small_gate().threshold
    sorts = [
        f"{sort}, examples: {number}"
        for number in range(4)
        for sort in ("topics of requests", "claims of the table",
                     "topics of the table, measured only")
    ]  # fmt: skip
    assert {*told["pairs"]} == {*sorts}
    assert all(one["n"] > 20 for one in told["pairs"].values())
    assert 0 < fitted.condition_threshold < 1 and 0 < fitted.claim_threshold < 1
    # the requests of these data are told apart wholly, claims are not
    for kind, least in (("topics of requests", 0.0), ("claims of the table", 0.05)):
        pairs = [one for name, one in told["pairs"].items() if name.startswith(f"{kind}, ex")]
        # the lowest threshold whose mean share of false hits is within the rate
        assert len(pairs) == 4 and least <= np.mean([one["false"] for one in pairs]) <= 0.1 + 1e-4
        assert np.mean([one["held"] - one["false"] for one in pairs]) > 0.05
    slopes = [getattr(fitted.conditions, kind) for kind in ("topic", "claim")]
    assert all(min(one.trained, one.cosine, one.nearest, one.steeper) >= 0 for one in slopes)
    fitted.save(tmp_path)
    again = GateArtifact.load(tmp_path)
    assert (again.conditions, again.card) == (fitted.conditions, fitted.card)
    assert again.condition_threshold == fitted.condition_threshold
    assert again.claim_threshold == fitted.claim_threshold


def test_the_figures_of_conditions_are_what_the_gate_does(data, fitted):
    """Of requests on which topics were fitted, as many fire as the card says."""
    requests, out_of_scope = read_requests(data)
    encoder = StubEncoder()
    pairs = _by_intent(data, EmbeddingCache(encoder, None), requests, out_of_scope, 2)
    gate = ScopeClassifier(encoder, fitted)
    scores = gate.score_batch([text for text, *_ in pairs], [[edit] for _, edit, _ in pairs])
    told = fitted.card["conditions"]["pairs"]["topics of requests, examples: 2"]
    assert told["n"] == len(pairs)
    for right, name in ((True, "held"), (False, "false")):
        some = [one.probability[0] for one, (*_, holds) in zip(scores, pairs, strict=True)
                if holds == right]  # fmt: skip
        share = np.mean(np.array(some) >= fitted.condition_threshold)
        assert share == pytest.approx(told[name], abs=2 / len(some))


def test_conditions_of_one_sort_are_an_error(data, monkeypatch):
    gate = ScopeClassifier(StubEncoder(), small_gate())
    monkeypatch.setattr(gate, "evidence", lambda texts, edits: [[None]] * len(texts))
    with pytest.raises(ModelError, match="that hold and that do not, found 0 of one sort"):
        examples.fit_conditions(
            small_gate(), gate, EmbeddingCache(StubEncoder(), None), data, *read_requests(data)
        )


def test_pairs_picked_by_their_words_do_not_turn_the_order():
    unfitted = ExampleCalibration(np.zeros((2, 1), np.float32), (0.0, 0.0), examples.UNFITTED)

    def pairs(*some):
        inputs = [unfitted.inputs(Evidence(0.0, 0.0, cosine, 1, 0.0, Wording(overlap)))
                  for cosine, overlap, _ in some]  # fmt: skip
        labels = np.array([governs for *_, governs in some])
        return examples._Rows(np.array(inputs), labels, np.arange(len(some)), True)

    asked = pairs(*[(0.6, 0.3, True), (0.3, 0.1, False)] * 50)
    # the nearer of those that share their words are the wrong ones
    picked = pairs(*[(0.80, 1.0, True), (0.97, 1.0, False)] * 50)
    slopes = examples._logistic([asked, picked], 1.0)
    config = dict(zip(SLOPES, slopes.tolist(), strict=True))
    fitted = replace(unfitted, config=replace(examples.UNFITTED, **config))
    far, near, nearer = (
        fitted.probability(Evidence(0.0, 0.0, cosine, 1, 0.0, Wording(1.0)))
        for cosine in (0.3, 0.80, 0.97)
    )
    assert far < near - 0.05 and near == pytest.approx(nearer, abs=1e-3)


def test_too_little_is_an_error(data, tmp_path):
    (tmp_path / "few.jsonl").write_text('{"source": "clinc150", "intent": "a", "text": "b"}\n')
    with pytest.raises(ModelError, match="at least 10 intents of 7 texts"):
        examples.fit_examples(
            small_gate(), StubEncoder(), replace(data, intents=tmp_path / "few.jsonl")
        )
    with pytest.raises(ModelError, match=r"expected inputs to leave out, .* found 'colour'"):
        examples.fit_examples(
            small_gate(), StubEncoder(), replace(data, without=("negation", "colour"))
        )
    with pytest.raises(ModelError, match=r"none.jsonl: expected a file"):
        examples.fit_examples(
            small_gate(), StubEncoder(), replace(data, pairs=tmp_path / "none.jsonl")
        )
