"""Intervals and tests against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from errata.intervals import difference, estimate, holm, paired


def cases(values):
    return {str(i): list(each) for i, each in enumerate(values)}


def test_the_interval_is_that_of_a_bootstrap_over_cases():
    rng = np.random.default_rng(3)
    # Probes of a case are alike: taking them for independent would be far too sure.
    values = [[float(rng.random() < p)] * 5 for p in rng.random(120)]
    found = estimate(cases(values))
    sums, counts = np.array([sum(v) for v in values]), np.array([len(v) for v in values])
    oracle = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert found.mean == pytest.approx(np.mean(np.concatenate(values)))
    assert (found.n, found.cases) == (600, 120)
    assert found.low == pytest.approx(oracle.low, abs=0.015)
    assert found.high == pytest.approx(oracle.high, abs=0.015)
    naive = 1.96 * np.sqrt(found.mean * (1 - found.mean) / 600)
    assert found.high - found.low > 3 * naive


def test_all_right_is_not_taken_for_certainty():
    found = estimate(cases([[1.0, 1.0]] * 20))
    assert found.mean == found.high == 1.0 and found.low == pytest.approx(0.8389, abs=1e-3)


def test_without_values_there_is_no_estimate():
    assert estimate({"a": []}) is None and paired({"a": [1.0]}, {"b": [1.0]}) is None


def test_one_answer_a_case_is_tested_by_mcnemar():
    first = cases([[1.0]] * 12 + [[0.0]] * 8)
    second = cases([[1.0]] * 3 + [[0.0]] * 9 + [[1.0]] * 1 + [[0.0]] * 7)
    found = paired(first, second)
    assert found.test.startswith("McNemar")
    assert found.p == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert found.difference == pytest.approx(8 / 20)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 500))
def test_several_answers_a_case_are_tested_by_permutation(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 9, 4)) + np.array([[[0.15]], [[0.0]]])
    found = paired(cases(first.tolist()), cases(second.tolist()))
    difference = first.mean(1) - second.mean(1)
    exact = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert found.p == pytest.approx(exact.pvalue, abs=0.03)
    assert found.difference == pytest.approx(difference.mean())


def test_cases_that_only_one_has_do_not_count():
    found = paired({"a": [1.0], "b": [0.0], "c": [1.0]}, {"a": [0.0], "c": [1.0], "d": [0.0]})
    assert found.n == 2 and found.difference == 0.5


def test_a_difference_is_over_the_cases_that_both_have():
    first = {"a": [1.0, 0.0], "b": [1.0], "c": [1.0]}
    found = difference(first, {"a": [0.0], "b": [1.0], "d": [0.0]})
    assert (found.mean, found.n) == (0.25, 2) and (found.low, found.high) == (0.0, 0.5)
    assert difference(first, {"d": [1.0]}) is None


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_one_case_says_nothing_of_how_others_differ():
    found = estimate({"a": [1.0, 0.0, 0.0]})
    assert (found.low, found.high) == (0.0, 1.0) and found.mean == pytest.approx(1 / 3)
