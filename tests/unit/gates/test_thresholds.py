"""Thresholds for a stated rate of false hits."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from errata.cache.errors import ModelError
from errata.cache.records import Hit, LanguagePatch, PatchTests, Query
from errata.gates.artifact import GateArtifact
from errata.gates.calibration import NegativeScores
from errata.gates.classifier import ScopeClassifier
from errata.gates.evaluation.metrics import bounded_threshold, most_false_hits
from errata.gates.load import load_gate
from tests.fakes import StubEncoder
from tests.small_gate import small_gate, small_gate_folder


@pytest.mark.parametrize("n", [50, 299, 2000])
@pytest.mark.parametrize("target", [0.005, 0.01, 0.1])
def test_the_bound_is_clopper_and_pearsons(n, target):
    """At a true rate of the target, so few false hits would be seen in 5% of cases at most."""
    let = most_false_hits(n, target)
    if let >= 0:
        assert binom.cdf(let, n, target) <= 0.05
    assert binom.cdf(let + 1, n, target) > 0.05


def test_a_threshold_keeps_its_promise_on_new_queries():
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(100):
        threshold = bounded_threshold(rng.beta(1, 8, 1000), 0.02)
        kept.append((rng.beta(1, 8, 4000) >= threshold).mean() <= 0.02)
    assert 0.9 < np.mean(kept) < 1.0  # 95% of the time; one that always keeps it gives too much


@given(st.integers(0, 10**6), st.integers(320, 400))
def test_what_the_card_keeps_gives_the_same_threshold(seed, n):
    scores = np.random.default_rng(seed).beta(0.3, 2, n).tolist()
    threshold = NegativeScores.of(scores).threshold(0.05)
    exact = bounded_threshold(np.array(scores), 0.05)
    assert exact <= threshold <= exact + 2e-6
    assert np.mean(np.array(scores) >= threshold) <= 0.05


def test_what_cannot_be_promised_is_refused():
    kept = NegativeScores.of([0.1] * 100)
    with pytest.raises(ModelError, match=r"100 queries can show, found 0\.001; ask for 0\.03"):
        kept.threshold(0.001)
    with pytest.raises(ModelError, match=r"at most 0\.1, found 0\.5"):
        kept.threshold(0.5)
    for rate in (0.0, 1.5, float("nan")):
        with pytest.raises(ModelError, match=rf"above 0 and below 1, found {rate}"):
            kept.threshold(rate)


@pytest.mark.parametrize("n", [40, 100, 999, 2130])
def test_the_rate_that_a_refusal_names_is_granted(n):
    kept = NegativeScores.of([0.1] * n)
    with pytest.raises(ModelError) as refused:
        kept.threshold(1e-5)
    named = re.search(r"ask for (\S+) or more", str(refused.value))
    assert kept.threshold(float(named[1])) > 0.1
    assert float(named[1]) <= 1.1 * (1 - 0.05 ** (1 / n))


def test_a_gate_is_loaded_for_a_rate(tmp_path):
    strict = load_gate(str(small_gate_folder()), StubEncoder(), target_false_hit_rate=0.03)
    loose = load_gate(str(small_gate_folder()), StubEncoder(), target_false_hit_rate=0.09)
    assert strict.threshold > loose.threshold
    folder = shutil.copytree(small_gate_folder(), tmp_path / "gate")
    with pytest.raises(ModelError, match=rf"gate {re.escape(str(folder))}: .*below 1, found 2"):
        load_gate(str(folder), StubEncoder(), target_false_hit_rate=2)
    stored = GateArtifact.load(folder)
    assert load_gate(str(small_gate_folder()), StubEncoder(), threshold=0.7).threshold == 0.7
    for wrong in ({"threshold": 1.5}, {"threshold": 0.7, "target_false_hit_rate": 0.03}):
        with pytest.raises(ModelError, match="pass one of them"):
            load_gate(str(folder), StubEncoder(), **wrong)
    del stored.card["negative_scores"]
    stored.save(folder)
    with pytest.raises(ModelError, match=r"gate .*: .*keeps the scores.*train the gate again"):
        load_gate(str(folder), StubEncoder(), target_false_hit_rate=0.03)


def test_a_threshold_that_is_given_counts():
    edit = LanguagePatch("the user asks about dogs", "x", tests=PatchTests(fires=("Dogs?",)))
    gate = ScopeClassifier(StubEncoder(), small_gate(), edit_thresholds={edit.id: 0.77})
    encoder = StubEncoder()
    query = Query("Do dogs bark?", ("Do dogs bark?",), encoder.encode(["Do dogs bark?"]))
    hits = [Hit(edit, 0.5, encoder.encode([edit.scope])[0])]
    assert gate.decide(query, hits).candidates[0].threshold == 0.77
