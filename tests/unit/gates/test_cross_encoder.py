"""The second stage: pairs read together, where the first stage is in doubt."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import numpy as np
import pytest

from errata.cache.encoder import EmbeddingCache
from errata.cache.errors import ModelError
from errata.cache.records import Fact, Hit, LanguagePatch, Query
from errata.gates.artifact import GateArtifact
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ClassifierConfig, ScopeClassifier
from errata.gates.cross_encoder import (
    MAX_TOKENS,
    CrossEncoder,
    CrossEncoderDelta,
    edit_text,
    encode_pairs,
    quantize_factors,
    unwrap_transformer,
)
from errata.gates.evaluation.ablation import without_part
from errata.gates.features import NAMES, Pair, Scope, pair_features
from errata.gates.layers import Platt
from tests.fakes import StubEncoder
from tests.small_cross import (
    BY_COSINE,
    FOLLOWS,
    RERANK_THRESHOLD,
    SAME,
    ReadingEncoder,
    bert_tokenizer,
    linear,
    random_cross,
    tiny_bert,
    two_stage_gate,
)
from tests.small_gate import small_gate

ENCODER = ReadingEncoder()
PAIRS = [
    ("What is the capital of Kazakhstan? Astana", "which city is kazakhstans capital"),
    ("if who made you", "Who made you?"),
    ("What colour is the skin of the zebra?", "What is the capital of Norway? " * 30),
    ("What is the capital of Peru? Lima", ""),
    ("What is the capital of Japan?" * 40, "Tokyo"),
]
PLACES = "Kazakhstan France Norway Peru Egypt Japan Spain Chile Kenya Nepal Ghana Cuba".split()
RERANK_TOP_K = ClassifierConfig().rerank_top_k
EDITS = [Fact(f"What is the capital of {one}?", "Astana", subject=one) for one in PLACES]
TOPIC = LanguagePatch("the user asks about the capital of a country", "be polite")
ASKED = "which city is kazakhstans capital"


def asked(text: str) -> Query:
    windows = ENCODER.windows(text)
    return Query(text, windows, ENCODER.encode(windows), 0.0)


def hits(edits=EDITS) -> list[Hit]:
    return [Hit(edit, 0.5, ENCODER.encode([edit.scope])[0]) for edit in edits]


@pytest.fixture
def read(monkeypatch):
    """Return the list of what is read together, each call's pairs."""
    seen: list[list[tuple[str, str]]] = []
    real = CrossEncoder.__call__

    def spy(self, pairs):
        seen.append(list(pairs))
        return real(self, pairs)

    monkeypatch.setattr(CrossEncoder, "__call__", spy)
    return seen


def test_it_says_what_the_changed_transformer_says():
    import torch

    stored = random_cross()
    model = copy.deepcopy(tiny_bert()).double()
    plain = {name: weight.clone() for name, weight in model.named_parameters()}
    for name in stored.matrix_names():
        down, up = (stored.tensors[f"{name}.{part}"].astype(np.float64) for part in "AB")
        model.get_parameter(name).data += torch.from_numpy(2.0 * up @ down)
    head = (stored.tensors[name].astype(np.float64) for name in ("head.weight", "head.bias"))
    weight, bias = head
    for one, other in PAIRS[:2]:
        tokens = bert_tokenizer()([one], [other], return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0].numpy()
        expected = weight @ np.concatenate([states[0], states.mean(axis=0)]) + bias
        found = CrossEncoder(ENCODER, stored)([(one, other)])[0]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    for name, value in plain.items():
        model.get_parameter(name).data.copy_(value)
    with torch.no_grad():
        states = model(**tokens).last_hidden_state[0].numpy()
    unchanged = weight @ np.concatenate([states[0], states.mean(axis=0)]) + bias
    assert np.abs(unchanged - expected).max() > 0.1


def test_the_same_in_any_batch():
    reader = CrossEncoder(ENCODER, random_cross())
    together = reader(PAIRS * 9)
    assert together.shape == (45, 3) and together.dtype == np.float64
    for row, pair in enumerate(PAIRS):
        np.testing.assert_allclose(together[row], reader([pair])[0], atol=1e-4)
        np.testing.assert_allclose(together[row + 40], together[row], atol=1e-4)
    assert together[:5].std(axis=0).min() > 0.05
    assert reader([]).shape == (0, 3)


def test_an_encoder_that_pads_on_the_left_is_read_the_same():
    class Left(ReadingEncoder):
        def transformer(self):
            tokenizer = copy.deepcopy(bert_tokenizer())
            tokenizer.padding_side = "left"
            return tiny_bert(), tokenizer

    stored = random_cross()
    expected = CrossEncoder(ENCODER, stored)(PAIRS)
    np.testing.assert_allclose(CrossEncoder(Left(), stored)(PAIRS), expected, atol=1e-6)


def test_what_is_too_long_is_cut():
    long = "capital of Norway " * 500
    found = CrossEncoder(ENCODER, random_cross())([(long, long), (long, "Who made you?")])
    assert np.isfinite(found).all()
    ids = bert_tokenizer()([long], [long], truncation=True, max_length=MAX_TOKENS)["input_ids"]
    assert len(ids[0]) == MAX_TOKENS


def test_the_encoders_own_transformer_and_tokenizer_stay_as_they_are():
    tokenizer = bert_tokenizer()
    before = {name: value.clone() for name, value in tiny_bert().state_dict().items()}
    flags = [one.requires_grad for one in tiny_bert().parameters()]
    tokenizer("plain", verbose=False)
    settings = tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding
    reader = CrossEncoder(ENCODER, random_cross())
    assert np.abs(reader(PAIRS)).max() > 0
    after = tiny_bert().state_dict()
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    assert flags == [one.requires_grad for one in tiny_bert().parameters()] and all(flags)
    backend = tokenizer.backend_tokenizer
    assert settings == (backend.truncation, backend.padding) == (None, None)


def test_threads_read_what_one_reads():
    reader = CrossEncoder(ENCODER, random_cross())
    expected = CrossEncoder(ENCODER, random_cross())(PAIRS)
    found, failed = {}, []

    def work(number):
        try:
            for _ in range(4):
                found[number] = reader(PAIRS[number % 5 :] + PAIRS[: number % 5])
        except BaseException as error:  # told below
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    shared = ENCODER.transformer()[1]
    for number in range(40):  # the encoder goes on meanwhile, and pads and cuts as it likes
        shared(["the capital of Norway"], padding=bool(number % 2), truncation=True, max_length=4)
    for one in threads:
        one.join()
    assert not failed and len(found) == 8
    for number, rows in found.items():
        np.testing.assert_allclose(np.roll(rows, number % 5, axis=0), expected, atol=1e-4)


def test_an_encoder_without_a_transformer_is_refused():
    with pytest.raises(ModelError, match=r"encoder with a transformer.*found StubEncoder"):
        CrossEncoder(StubEncoder(), random_cross())
    with pytest.raises(ModelError, match="found StubEncoder"):
        ScopeClassifier(EmbeddingCache(StubEncoder()), two_stage_gate())
    assert unwrap_transformer(EmbeddingCache(EmbeddingCache(ENCODER))) is ENCODER


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (random_cross(layers=3), r"encoder\.layer\.2\S+ of shape .* has nothing; use the encoder"),
        (random_cross(hidden=64), r"of shape \[64, 64\].*has \[32, 32\]"),
    ],
)
def test_the_transformer_of_another_encoder_is_refused(stored, message):
    before = {name: value.clone() for name, value in tiny_bert().state_dict().items()}
    with pytest.raises(ModelError, match=message):
        CrossEncoder(ENCODER, stored)(PAIRS)
    assert all(before[name].equal(value) for name, value in tiny_bert().state_dict().items())


def test_a_head_of_another_width_is_refused():
    stored = random_cross()
    wide = dict(stored.tensors) | {"head.weight": np.zeros((3, 128), np.float16)}
    with pytest.raises(ModelError, match=r"head\.weight of shape \[3, 128\].*\[3, 64\]"):
        CrossEncoder(ENCODER, CrossEncoderDelta(wide, 2.0))(PAIRS)


@pytest.mark.parametrize("gone", ["head.weight", "head.bias", ".A", ".B"])
def test_arrays_of_no_cross_encoder_are_refused(gone):
    stored = random_cross()
    lost = next(name for name in sorted(stored.tensors) if name.endswith(gone))
    kept = {name: array for name, array in stored.tensors.items() if name != lost}
    with pytest.raises(ModelError, match=r"expected the arrays of a cross-encoder"):
        CrossEncoderDelta(kept, 2.0)
    name = stored.matrix_names()[0]
    other = dict(stored.tensors) | {f"{name}.A": np.zeros((7, 32), np.float16)}
    with pytest.raises(ModelError, match="train the gate again"):
        CrossEncoderDelta(other, 2.0)


def test_a_byte_a_number_keeps_every_product_to_half_a_step():
    rng = np.random.default_rng(0)
    sizes = np.array([10.0, 1.0, 1e-4])
    up, down = rng.normal(size=(8, 3)) * sizes, rng.normal(size=(3, 5)) * sizes[:, None]
    arrays = quantize_factors("m", up, down)
    stored = CrossEncoderDelta(
        arrays | {"head.weight": np.zeros((3, 4)), "head.bias": np.zeros(3)}, 1.0
    )
    assert arrays["m.A"].dtype == arrays["m.B"].dtype == np.int8
    for at in range(3):
        alone = {name: array for name, array in arrays.items()}
        alone["m.scale"] = arrays["m.scale"] * (np.arange(3) == at)
        one = CrossEncoderDelta(
            alone | {k: stored.tensors[k] for k in ("head.weight", "head.bias")}, 1.0
        )
        exact = np.outer(up[:, at], down[at])
        assert np.abs(one.delta("m") - exact).max() < np.abs(exact).max() / 100
    del arrays["m.scale"]
    with pytest.raises(ModelError, match=r"NAME\.scale"):
        CrossEncoderDelta(arrays | {"head.weight": np.zeros((3, 4)), "head.bias": np.zeros(3)}, 1.0)


def test_reading_changes_what_is_decided():
    alone = ScopeClassifier(ENCODER, small_gate())
    reading = ScopeClassifier(ENCODER, two_stage_gate())
    texts = [f"what is {place}'s capital" for place in ("France", "Norway", "Peru", "Egypt")]
    pairs = [
        (alone.score(text, EDITS).probability, reading.score(text, EDITS).probability)
        for text in texts
    ]
    assert max(np.abs(one - other).max() for one, other in pairs) > 0.2
    deaf = replace(two_stage_gate().second, scope=linear(3, *BY_COSINE))
    deaf = ScopeClassifier(ENCODER, replace(two_stage_gate(), second=deaf))
    loud = [reading.score(text, EDITS).probability for text in texts]
    still = [deaf.score(text, EDITS).probability for text in texts]
    assert max(np.abs(one - other).max() for one, other in zip(loud, still, strict=True)) > 0.1


def test_the_second_stage_weighs_features_and_logits_as_stored(read):
    gate = ScopeClassifier(ENCODER, two_stage_gate())
    found = gate.score(ASKED, EDITS[:1])
    scope = Scope(EDITS[0].question, "Kazakhstan", "Astana")
    assert read == [[(edit_text(scope), ASKED)]]
    cosine = float(np.prod(ENCODER.encode([ASKED, scope.text]).astype(float), axis=0).sum())
    (logits,) = CrossEncoder(ENCODER, random_cross())(read[0])
    odds = np.clip(logits[1:] - logits[0], -10, 10) / 10
    weight = np.exp(np.array([0.0, *(6 * cosine - 2.7 + 12 * odds)]))  # as in small_cross
    assert found.probability[0] == pytest.approx(weight[1:].sum() / weight.sum(), abs=1e-5)
    assert found.entailed[0] == pytest.approx(weight[2] / weight[1:].sum(), abs=1e-5)


def test_a_pair_below_the_band_is_not_read_nor_more_probable(read):
    alone = ScopeClassifier(ENCODER, replace(two_stage_gate(), second=None))
    for text in ("how do i boil an egg", "What is France's capital?", ASKED):
        first = alone.score(text, EDITS).probability
        band = np.unique(first)[-2] - 1e-9  # of scores that occur
        second = replace(two_stage_gate().second, rerank_threshold=band)
        gate = ScopeClassifier(ENCODER, replace(two_stage_gate(), second=second))
        found = gate.score(text, EDITS).probability
        unread = first < band
        assert unread.sum() > 2 and (~unread).any()
        np.testing.assert_allclose(found[unread], first[unread], rtol=1e-9)
        assert len(read[-1]) == min(RERANK_TOP_K, (~unread).sum())


def test_bare_questions_are_read_both_ways():
    reader = CrossEncoder(ENCODER, random_cross())
    one, other = "who made you", "whos your maker"
    sides = [(Scope(one, "", "Example Labs"), False), (Scope(one), False), (Scope(one), True)]
    found = reader.score_edits(sides, [other] * 3)
    alone = reader(
        [(f"{one} Example Labs", other), (one, other), (other, one), (f"if {one}", other)]
    )
    assert np.abs(alone[1] - alone[2]).max() > 0.01
    expected = [alone[0], alone[1:3].mean(0), alone[3]]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    turned = reader.score_edits([(Scope(other), False)], [one])
    np.testing.assert_allclose(turned[0], found[1], atol=1e-5)
    assert reader.score_edits([], []).shape == (0, 3)


def test_a_transformer_is_not_made_for_nothing():
    class Lazy(ReadingEncoder):
        def transformer(self):
            raise AssertionError

    alone = ScopeClassifier(ENCODER, replace(two_stage_gate(), second=None))
    (low,), (high,) = (alone.score(text, [EDITS[0]]).probability
                       for text in ("how do i boil an egg", ASKED))  # fmt: skip
    assert low < high
    second = replace(two_stage_gate().second, rerank_threshold=(low + high) / 2)
    gate = ScopeClassifier(Lazy(), replace(two_stage_gate(), second=second))
    assert gate.score("how do i boil an egg", [EDITS[0]]).probability[0] == pytest.approx(low)
    with pytest.raises(AssertionError):
        gate.score(ASKED, [EDITS[0]])


def test_no_more_than_k_are_reranked_and_the_others_stay_below_the_threshold(read):
    everything = replace(
        two_stage_gate(), second=replace(two_stage_gate().second, rerank_threshold=0.0)
    )
    gate = ScopeClassifier(ENCODER, everything)
    first = ScopeClassifier(ENCODER, replace(everything, second=None))
    found = gate.score(ASKED, EDITS).probability
    order = np.argsort(-first.score(ASKED, EDITS).probability, kind="stable")
    assert len(EDITS) > RERANK_TOP_K == len(read[0])
    told = {edit for edit, _ in read[0]}
    assert told == {f"{EDITS[at].question} Astana" for at in order[:RERANK_TOP_K].tolist()}
    assert (found[order[RERANK_TOP_K:]] == 0.0).all()
    gate = ScopeClassifier(ENCODER, everything, config=ClassifierConfig(rerank_top_k=2))
    gate.score_batch([ASKED, "what is the capital of peru"], [EDITS, EDITS[:5]])
    assert [query for _, query in read[1]].count(ASKED) == 2 and len(read[1]) == 4


def test_conditions_are_always_read_and_marked(read):
    gate = ScopeClassifier(ENCODER, two_stage_gate())
    question = LanguagePatch("the user asks who made you", "say: Example Labs")
    text = "how do i boil an egg"
    gate.score(text, [TOPIC, EDITS[0], question])
    (pair,) = [pair for pair in read[0] if pair[0].startswith("if ")]
    assert pair[1] == text and "capital of a country" in pair[0]
    # what the user asks is held against the query as a fact's question is
    asked = "whos your maker, who made you"
    gate.score(asked, [question])
    assert read[1] == [("who made you", asked), (asked, "who made you")]
    assert edit_text(Scope("a topic", "", "gone"), True) == "if a topic"
    assert edit_text(Scope("Who?", "", "")) == "Who?"


def test_the_same_alone_and_together():
    every = ClassifierConfig(rerank_top_k=8)  # of more than k, the others would not be read
    gate = ScopeClassifier(ENCODER, two_stage_gate(), config=every)
    texts = [ASKED, "what is norways capital", "how do i boil an egg", "Is Lima in Peru?"]
    against = [*EDITS[:5], TOPIC]
    together = gate.score_batch(texts, [against] * len(texts))
    for text, found in zip(texts, together, strict=True):
        alone = [gate.score(text, [edit]) for edit in against]
        np.testing.assert_allclose(
            found.probability, [one.probability[0] for one in alone], atol=1e-4
        )
        np.testing.assert_allclose(found.entailed, [one.entailed[0] for one in alone], atol=1e-4)
    again = ScopeClassifier(ENCODER, two_stage_gate(), config=every).decide_batch(
        [asked(text) for text in texts], [hits(against)] * len(texts)
    )
    for text, decision in zip(texts, again, strict=True):
        expected = gate.decide(asked(text), hits(against))
        assert decision.fired == expected.fired
        np.testing.assert_allclose(
            [one.probability for one in decision.candidates],
            [one.probability for one in expected.candidates],
            atol=1e-4,
        )


def test_the_keys_of_version_0_1_are_read(tmp_path):
    card = two_stage_gate().card | {"negative_scores": {"n": 20, "highest": [0.5] * 3}}
    replace(two_stage_gate(), card=card, agreement_threshold=0.25).save(tmp_path)
    path = tmp_path / "card.json"
    text = path.read_text("utf-8")
    old = {"negative_scores": "beside", "agreement_threshold": "agreeing",
           "rerank_threshold": "band"}  # fmt: skip
    for new, name in old.items():
        assert text.count(f'"{new}"') == 1
        text = text.replace(f'"{new}"', f'"{name}"')
    path.write_text(text, "utf-8")
    found = GateArtifact.load(tmp_path)
    assert found.second is not None and found.second.rerank_threshold == RERANK_THRESHOLD
    assert found.agreement_threshold == 0.25 and NegativeScores.of_card(found.card).n == 20
    assert not {*old.values()} & {*found.card}


def test_options_of_version_0_1_warn():
    with pytest.warns(DeprecationWarning) as seen:
        old = ScopeClassifier(ENCODER, stored=two_stage_gate(), own_tests=False)
    said = [str(one.message) for one in seen]
    assert any("'stored'" in one and "'artifact'" in one for one in said)
    assert any("use_patch_tests has no effect" in one for one in said)
    assert seen[0].filename == __file__
    assert old.artifact is ScopeClassifier(ENCODER, artifact=two_stage_gate()).artifact


def test_classes_come_from_the_stage_of_facts_or_of_conditions():
    second = replace(
        two_stage_gate().second,
        scope=linear(3, (1, SAME, 10.0, 0.0), (2, FOLLOWS, 20.0, 0.0)),
        condition=linear(2, (1, SAME, 30.0, 0.0)),
    )
    stored = replace(two_stage_gate(), second=second)
    features, logits = np.zeros((4, len(NAMES))), np.array([[0.0, 1.0, -1.0], [2.0, 3.0, 0.0]] * 2)
    conditions = np.array([False, False, True, True])
    found = stored.second_classes(features, conditions, logits)
    facts = np.exp([[0.0, 1.0, -2.0], [0.0, 1.0, -4.0]])
    facts /= facts.sum(axis=1, keepdims=True)
    sure = 1 / (1 + np.exp(-3.0))
    np.testing.assert_allclose(found[:2], facts)
    np.testing.assert_allclose(found[2:], [[1 - sure, sure, 0.0]] * 2)
    governs, entailed = stored.calibrated(found, conditions)
    np.testing.assert_allclose(governs, 1 - found[:, 0])
    np.testing.assert_allclose(entailed, [*(facts[:, 2] / facts[:, 1:].sum(axis=1)), 0.0, 0.0])
    doubting = replace(stored, scope_calibration=Platt(0.5, -1.0))
    less, _ = doubting.calibrated(found, conditions)
    odds = np.log(governs[0] / (1 - governs[0])) / 2 - 1
    assert less[0] == pytest.approx(1 / (1 + np.exp(-odds))) and less[2] == governs[2]
    with pytest.raises(ModelError, match="expected a gate of two stages, found one"):
        small_gate().second_classes(features, conditions, logits)


def test_the_first_stage_scores_a_pair_by_its_features():
    gate = ScopeClassifier(ENCODER, replace(two_stage_gate(), second=None))
    scope = Scope(EDITS[0].question, "Kazakhstan", "Astana")
    cosine = float(np.prod(ENCODER.encode([ASKED, scope.text]).astype(float), axis=0).sum())
    features = pair_features([Pair(ASKED, scope, cosine)])
    ((none, _, follows),) = small_gate().first_classes(features, np.zeros(1, bool))
    found = gate.score(ASKED, EDITS[:1])
    assert found.probability[0] == pytest.approx(1 - none, abs=1e-6)
    assert found.entailed[0] == pytest.approx(follows / (1 - none), abs=1e-6)


def test_pooling_leaves_padding_out():
    import torch

    with torch.no_grad():
        alone = encode_pairs(tiny_bert(), bert_tokenizer(), PAIRS[:1])
        padded = encode_pairs(tiny_bert(), bert_tokenizer(), PAIRS[:3])
    assert alone.shape == (1, 64)
    torch.testing.assert_close(alone[0], padded[0], atol=1e-4, rtol=0)


def test_without_the_cross_encoder_the_first_stage_is_left(read):
    whole = replace(two_stage_gate(), card=two_stage_gate().card | {"negative_scores": {"n": 1}})
    less = without_part(whole, "cross")
    assert less.second is None and "negative_scores" not in less.card
    alone = ScopeClassifier(ENCODER, less).score(ASKED, [*EDITS, TOPIC])
    assert not read
    first = ScopeClassifier(ENCODER, replace(whole, second=None)).score(ASKED, [*EDITS, TOPIC])
    np.testing.assert_array_equal(alone.probability, first.probability)
    for gate, part, found in ((whole, "bi", "'bi'"), (less, "cross", "of a gate of one stage")):
        with pytest.raises(ModelError, match=rf"two stages, cross, found .*{found}"):
            without_part(gate, part)
