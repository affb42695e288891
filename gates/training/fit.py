"""Fitting the networks of a gate with scikit-learn, as plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errata.cache.errors import ModelError
from errata.gates.evaluation.metrics import threshold_at_rate
from errata.gates.features import PairFeatures
from errata.gates.layers import Array, Network, Platt, Projection, Trees, log_odds

METRIC_WIDTH = 64
"""Dimensions in which two relations are compared."""
SHRINKAGE = 0.1
"""Shrinkage of the scatter within a relation towards the identity."""
HIDDEN = 96
MEMBERS = 3
ROUNDS = 150

Labels = NDArray[np.int64]


def fit_relations(found: PairFeatures, labels: Labels, width: int = METRIC_WIDTH) -> Projection:
    """Return a space in which paraphrases lie close, and other questions apart.

    Fisher's discriminant analysis on pairs: the directions with the largest scatter of all texts
    relative to that within paraphrase pairs, scaled so that the latter is one. It needs no list of
    relations and generalizes to unseen ones.

    :param labels: class numbers [n], 1 for *paraphrase*.
    :raises ModelError: no pair is labelled *paraphrase*.
    """
    differences = (found.query_rest - found.scope_rest)[labels == 1].astype(np.float64)
    if not len(differences):
        raise ModelError("cannot train a gate: no pair is labelled paraphrase")
    texts = np.unique(np.concatenate([found.query_rest, found.scope_rest]), axis=0)
    texts = texts.astype(np.float64)
    size = texts.shape[1]
    within = differences.T @ differences / len(differences) / 2
    within += (SHRINKAGE * np.trace(within) / size + 1e-9) * np.eye(size)
    spread, axes = np.linalg.eigh(within)
    whiten = axes / np.sqrt(spread)
    directions = whiten @ np.linalg.eigh(whiten.T @ np.cov(texts.T) @ whiten)[1]
    directions = directions[:, ::-1][:, : min(width, size)]
    # the sign of an eigenvector depends on the machine
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), range(directions.shape[1])])
    return Projection(texts.mean(axis=0), np.ascontiguousarray((directions * signs).T))


def fit_trees(inputs: Array, labels: Labels, seed: int) -> tuple[Trees, Any]:
    """Fit gradient-boosted trees.

    :param inputs: float64 [n, f].
    :param labels: class numbers [n], from 0, none left out.
    :return: the trees, and scikit-learn's classifier, for comparison.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    classifier = HistGradientBoostingClassifier(
        max_iter=ROUNDS,
        learning_rate=0.1,
        max_leaf_nodes=15,
        min_samples_leaf=10,
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


def fit_network(
    inputs: Array, labels: Labels, seed: int, *, hidden: int = HIDDEN, members: int = MEMBERS
) -> tuple[Network, list[Any]]:
    """Fit multi-layer perceptrons that differ in their seed.

    :param inputs: float64 [n, f].
    :param labels: class numbers [n].
    :param hidden: units of the one hidden layer.
    :param members: how many.
    :return: the network, and scikit-learn's classifiers, for comparison.
    :raises ModelError: fewer than two classes.
    """
    from sklearn.neural_network import MLPClassifier

    if len(np.unique(labels)) < 2:
        raise ModelError(
            "cannot train a gate on pairs of one class only: expected pairs in scope and pairs "
            f"out of scope, found {len(labels)} of one sort"
        )
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)
    scaled = (inputs - mean) / scale
    fitted = []
    for member in range(members):
        classifier = MLPClassifier(
            (hidden,),
            alpha=1e-2,
            batch_size=max(1, min(256, len(labels) // 2)),
            learning_rate_init=1e-3,
            max_iter=40,
            early_stopping=len(labels) >= 200,
            n_iter_no_change=8,
            random_state=seed + member,
        )
        fitted.append(_fit_quietly(classifier, scaled, labels))
    return Network(mean, scale, tuple(layers_of(one) for one in fitted)), fitted


def fit_logistic(inputs: Array, labels: Labels, seed: int) -> tuple[Network, list[Any]]:
    """Fit a logistic regression, as a network without hidden layers.

    :raises ModelError: fewer than two classes.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        raise ModelError("cannot train a gate on pairs of one class only")
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)
    classifier = LogisticRegression(C=0.3, max_iter=500, random_state=seed)
    classifier = _fit_quietly(classifier, (inputs - mean) / scale, labels)
    layer = (classifier.coef_.T.copy(), classifier.intercept_.copy())
    return Network(mean, scale, ((layer,),)), [classifier]


def layers_of(classifier: Any) -> tuple[tuple[Array, Array], ...]:
    """Return weights and biases of a fitted MLPClassifier, layer by layer."""
    return tuple(
        (np.asarray(weights, np.float64), np.asarray(biases, np.float64))
        for weights, biases in zip(classifier.coefs_, classifier.intercepts_, strict=True)
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


def _fit_quietly(classifier: Any, inputs: Array, labels: Labels) -> Any:
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is the limit
        return classifier.fit(inputs, labels)
