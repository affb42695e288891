"""Fitting the networks of a gate with scikit-learn, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.gates.evaluation.metrics import threshold_at_rate
from errata.gates.layers import Array, Platt, Trees, log_odds

ROUNDS, LEAVES, LEAST_IN_LEAF, RATE, PENALTY = 60, 8, 100, 0.1, 10.0
"""Of the trees. On tune pairs, templates left out of the fit in turn, the area under the curve is
0.986, and 0.990 of pairs fitted on; twice as many trees of 12 leaves: 0.987 and 0.994, so that they
would be surer in use than they are right."""

Labels = NDArray[np.int64]


def fit_trees(inputs: Array, labels: Labels, seed: int) -> tuple[Trees, Any]:
    """Fit gradient-boosted trees.

    :param inputs: float64 [n, f].
    :param labels: class numbers [n], from 0, none left out.
    :return: the trees, and scikit-learn's classifier, for comparison.
    :raises ModelError: fewer than two classes.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    if len(np.unique(labels)) < 2:
        raise ModelError(
            "cannot train a gate on pairs of one class only: expected pairs in scope and pairs "
            f"out of scope, found {len(labels)} of one sort"
        )
    classifier = HistGradientBoostingClassifier(
        max_iter=ROUNDS,
        learning_rate=RATE,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=min(LEAST_IN_LEAF, max(1, len(labels) // 50)),
        l2_regularization=PENALTY,
        early_stopping=False,
        random_state=seed,
    ).fit(inputs, labels)
    return trees_of(classifier), classifier


def trees_of(classifier: Any) -> Trees:
    """Return a fitted HistGradientBoostingClassifier's trees.

    With two classes, the first has the score 0.
    """
    base = np.asarray(classifier._baseline_prediction, np.float64).ravel()
    two = len(base) == 1
    nodes, roots, classes, start = [], [], [], 0
    for iteration in classifier._predictors:
        for number, tree in enumerate(iteration):
            shifted = tree.nodes.copy()
            shifted["left"] += start
            shifted["right"] += start
            nodes.append(shifted)
            roots.append(start)
            classes.append(number + two)
            start += len(shifted)
    joined = np.concatenate(nodes)
    leaf = joined["is_leaf"].astype(bool)
    return Trees(
        base=np.concatenate([[0.0], base]) if two else base,
        roots=np.array(roots, np.int32),
        classes=np.array(classes, np.int32),
        column=np.where(leaf, -1, joined["feature_idx"]).astype(np.int32),
        limit=np.where(leaf, 0.0, joined["num_threshold"]).astype(np.float64),
        left=joined["left"].astype(np.int32),
        right=joined["right"].astype(np.int32),
        value=np.where(leaf, joined["value"], 0.0).astype(np.float64),
    )


def fit_platt(probability: Array, truth: NDArray[np.bool_]) -> Platt:
    """Return the calibration of probabilities on held-out pairs (Platt 1999).

    :param probability: of the network, [n].
    :param truth: [n].
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(truth)) < 2:
        return Platt()
    fitted = LogisticRegression(C=1e6).fit(log_odds(probability)[:, None], truth)
    slope = float(fitted.coef_[0, 0])
    # a negative slope would reverse the gate's ranking
    return Platt(slope, float(fitted.intercept_[0])) if slope > 0 else Platt()


def pick_threshold(
    probabilities: Sequence[float], target_rate: float, *, least: float = 0.5
) -> float:
    """Return the lowest threshold within an allowed rate of false hits.

    :param probabilities: of the most probable candidate of each out-of-scope query.
    :param target_rate: false hits allowed, a share of the queries.
    :param least: lower bound of the threshold.
    """
    found = threshold_at_rate(np.asarray(probabilities, dtype=np.float64), target_rate)
    return min(max(least, found), 1.0)
