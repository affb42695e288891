"""SERAC's own gate: its formula, its training, its files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from errata.cache.errors import ModelError
from errata.cache.records import Fact, LanguagePatch, RegexPatch
from errata.gates.data.examples import Example
from errata.gates.embedding import EmbeddingGate
from errata.gates.features import Scope
from errata.gates.load import load_gate
from errata.gates.training.embedding import (
    EmbeddingConfig,
    _encode_pairs,
    _fit_map,
    balanced_loss,
    train_serac,
)
from errata.gates.training.train import TrainingConfig
from tests.fakes import StubEncoder

ENCODER = StubEncoder()
CAPITAL = Fact("What is the capital of Kazakhstan?", "Astana")
RECIPE = TrainingConfig(examples=600, trial_size=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serac")
    return folder, train_serac(
        folder, encoder=ENCODER, config=RECIPE, fit=EmbeddingConfig(16, epochs=6)
    )


def test_the_probability_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(16, ENCODER.dimension))
    query = "which city is Kazakhstan's capital"
    edits = (CAPITAL, LanguagePatch("the user asks who made you", "be brief"), RegexPatch("a", "b"))
    found = EmbeddingGate(ENCODER, matrix).score(query, edits)
    for row, text in enumerate((CAPITAL.question, "the user asks who made you")):
        e, x = (ENCODER.encode([t])[0].astype(np.float64) for t in (text, query))
        squared = sum(
            sum(matrix[i, j] * (e[j] - x[j]) for j in range(len(e))) ** 2 for i in range(16)
        )
        assert found.probability[row] == pytest.approx(math.exp(-squared), rel=1e-9)
    assert found.probability[2] == 0.0
    assert not found.entailed.any()


def test_a_long_query_counts_by_its_best_window():
    encoder = StubEncoder(longest=8)
    gate = EmbeddingGate(encoder, np.eye(encoder.dimension))
    long = f"{CAPITAL.question} I ask since I shall travel there in the spring with friends."
    assert len(encoder.windows(long)) == 2
    assert gate.score(long, [CAPITAL]).probability[0] == 1.0


def test_the_loss_is_balanced():
    apart = torch.tensor([[1.0, 0.0], [0.5, 0.5], [2.0, 1.0]], dtype=torch.float64)
    governs = torch.tensor([True, False, True])
    p = [math.exp(-1.0), math.exp(-0.5), math.exp(-5.0)]
    expected = -(math.log(p[0]) + math.log(p[2])) / 2 - math.log(1 - p[1])
    assert float(balanced_loss(apart, governs)) == pytest.approx(expected, abs=1e-12)
    same = torch.zeros(2, 2)
    assert math.isfinite(float(balanced_loss(same, torch.tensor([True, False]))))


def test_training_learns_what_the_vectors_do_not_say():
    def pair(query, scope, label):
        return Example(query, Scope(scope), label, "made")

    places = [
        f"{a}{b}" for a in ("Mar", "Lun", "Tor", "Bel", "Kas") for b in ("ia", "ova", "estan")
    ]
    pairs = [pair(f"capital of {p}", f"Which city rules {p}?", "paraphrase") for p in places]
    pairs += [pair(f"money of {p}", f"Which city rules {p}?", "none") for p in places]
    train, tune = (_encode_pairs(ENCODER, part, "train") for part in (pairs[::2], pairs[1::2]))
    matrix, history = _fit_map(
        train, tune, EmbeddingConfig(16, epochs=60, batch=8, rate=0.02), 0, False
    )
    assert min(history) < 0.5 * history[0]
    gate = EmbeddingGate(ENCODER, matrix)
    hits = {
        label: [
            gate.score(one.query, [Fact(one.scope.text, "x")]).probability[0] >= 0.5
            for one in pairs[1::2] if one.label == label
        ] for label in ("paraphrase", "none")
    }  # fmt: skip
    assert np.mean(hits["paraphrase"]) > 0.8 > 0.2 > np.mean(hits["none"])


def test_a_trained_gate_is_seeded_told_of_and_read_again(trained, tmp_path):
    folder, gate = trained
    again = train_serac(tmp_path, encoder=ENCODER, config=RECIPE, fit=EmbeddingConfig(16, epochs=6))
    assert np.array_equal(gate.map, again.map)
    read = load_gate(str(folder), ENCODER)
    assert isinstance(read, EmbeddingGate) and read.threshold == 0.5
    assert np.array_equal(read.map, gate.map.astype(np.float16))
    assert read.card == json.loads(json.dumps(gate.card))
    assert gate.card["tune"]["paraphrase hit"]["n"] > 0 and gate.card["seed"] == 0
    own = read.score(CAPITAL.question, [CAPITAL]).probability[0]
    assert own == 1.0


def test_what_cannot_be_read_is_told(trained, tmp_path):
    folder, gate = trained
    with pytest.raises(ModelError, match="trained with the encoder"):
        EmbeddingGate.load(folder, StubEncoder(fingerprint="another"))
    with pytest.raises(ModelError, match=r"expected a gate of kind serac.*train one"):
        EmbeddingGate.load(tmp_path, ENCODER)
    gate.save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "threshold": float("nan")}))
    with pytest.raises(ModelError, match=r"card\.json: expected threshold .* found nan"):
        EmbeddingGate.load(tmp_path, ENCODER)
    (tmp_path / "card.json").write_text(json.dumps(card))
    (tmp_path / "gate.safetensors").write_bytes(b"else")
    with pytest.raises(ModelError, match="expected SHA-256"):
        EmbeddingGate.load(tmp_path, ENCODER)
    (tmp_path / "card.json").write_text(json.dumps({**card, "format": 9}))
    with pytest.raises(ModelError, match="format 1, found"):
        EmbeddingGate.load(tmp_path, ENCODER)
    with pytest.raises(ModelError, match="the published one: leave both out"):
        load_gate(str(folder), ENCODER, target_false_hit_rate=0.01)
    with pytest.raises(ModelError, match="of one sort"):
        _encode_pairs(ENCODER, [Example("a", Scope("b"), "paraphrase", "made")], "train")
